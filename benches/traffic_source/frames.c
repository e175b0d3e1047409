#include "frames.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "environment.h"

/* Offsets in a frame: Ethernet, IPv4 without options, then TCP or UDP. */
enum {
	AT_TYPE = 12,
	AT_IPV4 = 14,
	AT_LENGTH = 16,
	AT_TTL = 22,
	AT_PROTOCOL = 23,
	AT_HEADER_CHECKSUM = 24,
	AT_SOURCE = 26,
	AT_DESTINATION = 30,
	AT_TRANSPORT = 34,
	AT_SOURCE_PORT = 34,
	AT_DESTINATION_PORT = 36,
};

#define UDP 17
#define TCP 6
#define TTL 64
/* IMIX: seven small, four middling, one large, by the length of the IPv4 packet. */
#define MOST_SIZES 12

/* What all frames of a direction, protocol, service, size and kind have in common. */
struct template {
	uint8_t line[LINE];
};

/* Ones' complement sums of a template's words, over what each checksum covers. */
struct sums {
	uint32_t header;
	uint32_t transport;
};

unsigned sizes;

static struct {
	enum protocols protocols;
	uint32_t services;	/* of each protocol, a power of two */
	uint32_t clients, vip, reals;
	uint16_t vip_port, real_port;
	uint16_t length[MOST_SIZES];
	uint8_t gateway_mac[6], real_mac[6], port_mac[2][6];
	struct template *templates;
	struct sums *sums;
} set;

static uint16_t load16(const uint8_t *at)
{
	uint16_t value;

	memcpy(&value, at, sizeof(value));
	return value;
}

static void store16(uint8_t *at, uint16_t value)
{
	memcpy(at, &value, sizeof(value));
}

static void store32(uint8_t *at, uint32_t value)
{
	memcpy(at, &value, sizeof(value));
}

/* The sum of big-endian words may be taken of the words as they lie in memory: it is the same for any byte order. */
static uint32_t sum_words(const uint8_t *at, unsigned bytes)
{
	uint32_t sum = 0;

	for (; bytes > 1; at += 2, bytes -= 2)
		sum += load16(at);
	return bytes ? sum + *at : sum;
}

static uint32_t halves(uint32_t value)
{
	return (value & 0xffff) + (value >> 16);
}

static uint16_t checksum_of(uint32_t sum)
{
	return (uint16_t)~halves(halves(sum));
}

static bool flow_is_tcp(uint32_t flow)
{
	return set.protocols == PROTOCOLS_MIX ? flow & 1 : set.protocols == PROTOCOLS_TCP;
}

static uint32_t flow_service(uint32_t flow)
{
	return (flow >> 1) & (set.services - 1);
}

static uint32_t client_address(uint32_t flow)
{
	return htonl(set.clients + (flow & ((1 << CLIENT_BITS) - 1)));
}

static uint16_t client_port(uint32_t flow)
{
	return htons((uint16_t)(FIRST_CLIENT_PORT + (flow >> CLIENT_BITS)));
}

static uint32_t vip_address(void)
{
	return htonl(set.vip);
}

static uint16_t vip_port(uint32_t service)
{
	return htons((uint16_t)(set.vip_port + service));
}

static uint32_t real_address(uint32_t service)
{
	return htonl(set.reals + service);
}

static uint16_t real_port(void)
{
	return htons(set.real_port);
}

static size_t template_index(unsigned kind, unsigned size, unsigned direction, bool tcp, uint32_t service)
{
	return (((kind * sizes + size) * 2 + direction) * 2 + tcp) * set.services + service;
}

/* Fills one template, the client's address and port and both checksums left 0. */
static void make_template(unsigned kind, unsigned size, unsigned direction, bool tcp, uint32_t service)
{
	static const uint8_t flags[KINDS] = {
		[DATA] = 0x18, [SYN] = 0x02, [SYN_ACK] = 0x12, [ACK] = 0x10, [FIN] = 0x11,
	};
	size_t index = template_index(kind, size, direction, tcp, service);
	uint8_t *line = set.templates[index].line;
	uint8_t *transport = line + AT_TRANSPORT;
	bool bare = tcp && kind != DATA;
	uint16_t length = bare ? 40 : set.length[size];
	unsigned covered = length - 20, header = tcp ? 20 : 8, at;

	memset(line, 0, LINE);
	memcpy(line, set.port_mac[direction], 6);
	memcpy(line + 6, direction == FORWARD ? set.gateway_mac : set.real_mac, 6);
	line[AT_TYPE] = 0x08;
	line[AT_IPV4] = 0x45;
	store16(line + AT_LENGTH, htons(length));
	line[AT_IPV4 + 6] = 0x40; /* do not fragment */
	line[AT_TTL] = TTL;
	line[AT_PROTOCOL] = tcp ? TCP : UDP;
	if (direction == FORWARD) {
		store32(line + AT_DESTINATION, vip_address());
		store16(line + AT_DESTINATION_PORT, vip_port(service));
	} else {
		store32(line + AT_SOURCE, real_address(service));
		store16(line + AT_SOURCE_PORT, real_port());
	}
	if (tcp) {
		store32(transport + 4, htonl(0x10000000)); /* sequence and acknowledgement */
		store32(transport + 8, kind == SYN ? 0 : htonl(0x20000000));
		transport[12] = 0x50;
		transport[13] = flags[kind];
		store16(transport + 14, htons(0xffff));
	} else {
		store16(transport + 4, htons((uint16_t)covered));
	}
	/* A payload that is not all zeros, as far as the line goes. */
	for (at = AT_TRANSPORT + header; at < LINE && at < AT_IPV4 + (unsigned)length; at++)
		line[at] = (uint8_t)(at * 7);

	set.sums[index].header = sum_words(line + AT_IPV4, 20);
	set.sums[index].transport =
		sum_words(line + AT_SOURCE, 8) + htons(line[AT_PROTOCOL]) + htons((uint16_t)covered) +
		sum_words(transport, covered < LINE - AT_TRANSPORT ? covered : LINE - AT_TRANSPORT);
}

static void make_templates(void)
{
	for (unsigned kind = 0; kind < KINDS; kind++)
		for (unsigned size = 0; size < sizes; size++)
			for (unsigned direction = 0; direction < 2; direction++)
				for (unsigned tcp = 0; tcp < 2; tcp++)
					for (uint32_t service = 0; service < set.services; service++)
						make_template(kind, size, direction, tcp, service);
}

void frames_setup(void)
{
	static const char *const protocols[] = { "mix", "udp", "tcp", NULL };
	static const char *const mixes[] = { "64", "imix", NULL };
	static const uint16_t imix[MOST_SIZES] = { 46, 46, 46, 46, 46, 46, 46, 576, 576, 576, 576, 1500 };
	size_t count;

	set.protocols = setting_word("TRAFFIC_PROTOCOLS", protocols);
	set.services = (uint32_t)setting_number("TRAFFIC_SERVICES", 16, 1, MOST_SERVICES);
	if (set.services & (set.services - 1)) {
		fprintf(stderr, "traffic source: TRAFFIC_SERVICES: expected a power of two\n");
		exit(2);
	}
	set.clients = setting_address("TRAFFIC_CLIENTS");
	set.vip = setting_address("TRAFFIC_VIP");
	set.reals = setting_address("TRAFFIC_REALS");
	set.vip_port = (uint16_t)setting_number("TRAFFIC_VIP_PORT", 8000, 1, 65535 - MOST_SERVICES);
	set.real_port = (uint16_t)setting_number("TRAFFIC_REAL_PORT", 80, 1, 65535);
	setting_mac("TRAFFIC_GATEWAY_MAC", set.gateway_mac);
	setting_mac("TRAFFIC_REAL_MAC", set.real_mac);
	if (setting_word("TRAFFIC_SIZES", mixes)) {
		sizes = MOST_SIZES;
		memcpy(set.length, imix, sizeof(imix));
	} else {
		sizes = 1;
		set.length[0] = 46;
	}
	count = (size_t)KINDS * sizes * 2 * 2 * set.services;
	set.templates = aligned_alloc(LINE, count * sizeof(*set.templates));
	set.sums = calloc(count, sizeof(*set.sums));
	if (!set.templates || !set.sums) {
		fprintf(stderr, "traffic source: no memory for the templates\n");
		exit(1);
	}
}

void frames_set_port_macs(const uint8_t vip[6], const uint8_t dip[6])
{
	memcpy(set.port_mac[FORWARD], vip, 6);
	memcpy(set.port_mac[REVERSE], dip, 6);
	make_templates();
}

/* No branch depends on the flow: protocols and services come at random. */
void frames_write(uint8_t *line, struct order order)
{
	bool tcp = flow_is_tcp(order.flow);
	size_t index = template_index(order.kind, order.size, order.direction, tcp, flow_service(order.flow));
	uint32_t address = client_address(order.flow);
	uint16_t port = client_port(order.flow);
	uint32_t changed = halves(address);
	uint16_t transport;

	memcpy(line, set.templates[index].line, LINE);
	store32(line + AT_SOURCE + 4 * order.direction, address);
	store16(line + AT_SOURCE_PORT + 2 * order.direction, port);
	store16(line + AT_HEADER_CHECKSUM, checksum_of(set.sums[index].header + changed));
	transport = checksum_of(set.sums[index].transport + changed + port);
	/* 0 would say that a UDP packet has none; for TCP both are right. */
	transport |= (uint16_t)-(transport == 0);
	store16(line + AT_TRANSPORT + 6 + 10 * tcp, transport);
}

/* What the balancer must have made of `line`, but for the checksums. */
static void translate(uint8_t *line, struct order order)
{
	uint32_t service = flow_service(order.flow);

	memcpy(line, order.direction == FORWARD ? set.real_mac : set.gateway_mac, 6);
	memcpy(line + 6, set.port_mac[!order.direction], 6);
	line[AT_TTL]--;
	if (order.direction == FORWARD) {
		store32(line + AT_DESTINATION, real_address(service));
		store16(line + AT_DESTINATION_PORT, real_port());
	} else {
		store32(line + AT_SOURCE, vip_address());
		store16(line + AT_SOURCE_PORT, vip_port(service));
	}
}

/* Both checksums summed anew over everything that they cover; past the line a packet is all zeros. */
static bool header_checksum_holds(const uint8_t *line)
{
	return checksum_of(sum_words(line + AT_IPV4, 20)) == 0;
}

static bool transport_checksum_holds(const uint8_t *line)
{
	unsigned covered = ntohs(load16(line + AT_LENGTH)) - 20;
	unsigned held = covered < LINE - AT_TRANSPORT ? covered : LINE - AT_TRANSPORT;
	uint32_t sum = sum_words(line + AT_SOURCE, 8) + htons(line[AT_PROTOCOL]) + htons((uint16_t)covered);

	return checksum_of(sum + sum_words(line + AT_TRANSPORT, held)) == 0 &&
	       !(line[AT_PROTOCOL] == UDP && load16(line + AT_TRANSPORT + 6) == 0);
}

void frames_check(struct page *page, const uint8_t *line, struct order order)
{
	uint8_t given[LINE], expected[LINE], same[LINE];
	unsigned transport = AT_TRANSPORT + (flow_is_tcp(order.flow) ? 16 : 6);
	unsigned near = 4 * order.direction, far = 4 - near;
	bool fault[FAULTS] = { false };
	bool any = false;

	frames_write(given, order);
	if (!memcmp(line, given, LINE)) {
		page->untouched++;
		return;
	}
	/* An RST or an ICMP error to the sender: not forwarded, and counted by the balancer as what it is. */
	if (!memcmp(line + AT_DESTINATION, given + AT_SOURCE, 4)) {
		page->answered++;
		return;
	}
	page->checked++;
	memcpy(expected, given, LINE);
	translate(expected, order);
	/* A checksum is right by what it sums up to, not by its bytes. */
	memcpy(same, line, LINE);
	memcpy(same + AT_HEADER_CHECKSUM, expected + AT_HEADER_CHECKSUM, 2);
	memcpy(same + transport, expected + transport, 2);

#define DIFFERS(at, bytes) (memcmp(line + (at), expected + (at), bytes) != 0)
	fault[FAULT_MAC] = DIFFERS(0, 12);
	fault[FAULT_TTL] = DIFFERS(AT_TTL, 1);
	fault[FAULT_CLIENT] = DIFFERS(AT_SOURCE + near, 4) || DIFFERS(AT_SOURCE_PORT + near / 2, 2);
	fault[FAULT_ENDPOINT] = DIFFERS(AT_SOURCE + far, 4) || DIFFERS(AT_SOURCE_PORT + far / 2, 2);
#undef DIFFERS
	fault[FAULT_HEADER_CHECKSUM] = !header_checksum_holds(line);
	fault[FAULT_TRANSPORT_CHECKSUM] = !transport_checksum_holds(line);
	for (unsigned index = 0; index < FAULT_OTHER; index++)
		any |= fault[index];
	fault[FAULT_OTHER] = !any && memcmp(same, expected, LINE) != 0;
	any |= fault[FAULT_OTHER];

	for (unsigned index = 0; index < FAULTS; index++)
		page->faults[index] += fault[index];
	if (any && page->faulty++ == 0) {
		page->example_flow = order.flow;
		page->example_direction = order.direction;
		memcpy(page->example_given, given, LINE);
		memcpy(page->example_found, line, LINE);
	}
}
