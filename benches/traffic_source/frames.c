#include "frames.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "environment.h"

/* Offsets in a frame: Ethernet, IPv4 without options or IPv6 without extension headers. */
enum {
	AT_TYPE = 12,
	AT_IP = 14,
	AT_IPV4_LENGTH = 16,
	AT_IPV4_FLAGS = 20,
	AT_HEADER_CHECKSUM = 24,
	AT_FLOW_LABEL = 16,	/* its lower 16 bits */
	AT_IPV6_LENGTH = 18,
};

/* Where a family has what both have. */
struct layout {
	uint8_t ttl;		/* or the hop limit */
	uint8_t protocol;	/* or the next header */
	uint8_t of_client;	/* 16 bits that the client's address decides: the header's checksum or flow label */
	uint8_t source;		/* the source's address; behind it is the destination's */
	uint8_t address;	/* bytes of an address */
	uint8_t transport;	/* the header of TCP or UDP */
};

static const struct layout layouts[FAMILIES] = {
	[IPV4] = {
		.ttl = 22, .protocol = 23, .of_client = AT_HEADER_CHECKSUM, .source = 26, .address = 4, .transport = 34,
	},
	[IPV6] = {
		.ttl = 21, .protocol = 20, .of_client = AT_FLOW_LABEL, .source = 22, .address = 16, .transport = 54,
	},
};

#define MOST_ADDRESS 16
#define IPV4_HEADER 20
#define IPV6_HEADER 40
#define UDP 17
#define TCP 6
#define TTL 64
/* IMIX: seven small, four middling, one large, by the length of the IP packet. */
#define MOST_SIZES 12
/*
 * The smallest packets: IPv4 alone fills a frame of 64 bytes. Where there are both families their packets are equally
 * long, so that frames are, and none has bytes behind its packet, which would be cut off.
 */
#define LEAST_IPV4 46
#define LEAST_OF_BOTH 66

/* Ones' complement sums of a template's words, over what each checksum covers. */
struct sums {
	uint32_t header;	/* IPv6 has no checksum of its header: 0 */
	uint32_t transport;
};

/* The first client, the VIP and the first real, in network byte order, as long as the family's addresses are. */
struct addresses {
	uint8_t client[MOST_ADDRESS], vip[MOST_ADDRESS], real[MOST_ADDRESS];
};

unsigned sizes;
bool both_families;

static struct {
	enum protocols protocols;
	uint32_t services;	/* of each protocol, a power of two */
	struct addresses addresses[FAMILIES];
	uint32_t clients[FAMILIES];	/* the first client's last 32 bits, which are counted up */
	uint16_t vip_port, real_port;
	uint16_t length[MOST_SIZES];	/* of IP packets */
	uint8_t gateway_mac[6], real_mac[6], port_mac[2][6];
	size_t written;	/* of a frame, and of a template: LINE or MOST_WRITTEN */
	/* What all frames of a family, direction, protocol, service, size and kind have in common. */
	uint8_t *templates;
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

static uint32_t load32(const uint8_t *at)
{
	uint32_t value;

	memcpy(&value, at, sizeof(value));
	return value;
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

/* The last 32 bits of its address, as they are in a frame. */
static uint32_t client_address(enum family family, uint32_t flow)
{
	return htonl(set.clients[family] + (flow & ((1 << CLIENT_BITS) - 1)));
}

static uint16_t client_port(uint32_t flow)
{
	return htons((uint16_t)(FIRST_CLIENT_PORT + (flow >> CLIENT_BITS)));
}

static uint16_t vip_port(uint32_t service)
{
	return htons((uint16_t)(set.vip_port + service));
}

static void put_vip(uint8_t *at, enum family family)
{
	memcpy(at, set.addresses[family].vip, layouts[family].address);
}

/* Its last 32 bits are counted up. */
static void put_real(uint8_t *at, enum family family, uint32_t service)
{
	uint8_t *last = at + layouts[family].address - 4;

	memcpy(at, set.addresses[family].real, layouts[family].address);
	store32(last, htonl(ntohl(load32(last)) + service));
}

static uint16_t real_port(void)
{
	return htons(set.real_port);
}

static size_t template_index(enum family family, unsigned kind, unsigned size, unsigned direction, bool tcp,
			     uint32_t service)
{
	return ((((family * KINDS + kind) * sizes + size) * 2 + direction) * 2 + tcp) * set.services + service;
}

/* The IP header, but for its addresses. Gives the bytes behind it. */
static uint16_t put_header(uint8_t *frame, enum family family, uint16_t length, bool tcp)
{
	uint16_t behind;

	if (family == IPV4) {
		behind = length - IPV4_HEADER;
		store16(frame + AT_TYPE, htons(0x0800));
		frame[AT_IP] = 0x45;
		store16(frame + AT_IPV4_LENGTH, htons(length));
		store16(frame + AT_IPV4_FLAGS, htons(0x4000)); /* do not fragment */
	} else {
		behind = length - IPV6_HEADER;
		store16(frame + AT_TYPE, htons(0x86dd));
		frame[AT_IP] = 0x60;
		store16(frame + AT_IPV6_LENGTH, htons(behind));
	}
	frame[layouts[family].ttl] = TTL;
	frame[layouts[family].protocol] = tcp ? TCP : UDP;
	return behind;
}

/* The sum of what the transport checksum covers: of as much of the frame as is written, for the rest is zeros. */
static uint32_t sum_transport(const uint8_t *frame, enum family family, uint16_t covered)
{
	const struct layout *at = &layouts[family];
	unsigned written = set.written - at->transport;

	return sum_words(frame + at->source, 2 * at->address) + htons(frame[at->protocol]) + htons(covered) +
	       sum_words(frame + at->transport, covered < written ? covered : written);
}

/* Fills one template, the last 32 bits of the client's address, its port and what depends on them left 0. */
static void make_template(enum family family, unsigned kind, unsigned size, unsigned direction, bool tcp,
			  uint32_t service)
{
	static const uint8_t flags[KINDS] = {
		[DATA] = 0x18, [SYN] = 0x02, [SYN_ACK] = 0x12, [ACK] = 0x10, [FIN] = 0x11,
	};
	const struct layout *at = &layouts[family];
	size_t index = template_index(family, kind, size, direction, tcp, service);
	uint8_t *frame = set.templates + index * set.written;
	uint8_t *transport = frame + at->transport;
	uint8_t *client = frame + at->source + direction * at->address;
	unsigned header = tcp ? 20 : 8, byte;
	bool bare = tcp && kind != DATA;
	uint16_t behind;

	memset(frame, 0, set.written);
	memcpy(frame, set.port_mac[direction], 6);
	memcpy(frame + 6, direction == FORWARD ? set.gateway_mac : set.real_mac, 6);
	behind = put_header(frame, family, bare ? at->transport - AT_IP + header : set.length[size], tcp);
	memcpy(client, set.addresses[family].client, at->address);
	store32(client + at->address - 4, 0);
	if (direction == FORWARD) {
		put_vip(frame + at->source + at->address, family);
		store16(transport + 2, vip_port(service));
	} else {
		put_real(frame + at->source, family, service);
		store16(transport, real_port());
	}
	if (tcp) {
		store32(transport + 4, htonl(0x10000000)); /* sequence and acknowledgement */
		store32(transport + 8, kind == SYN ? 0 : htonl(0x20000000));
		transport[12] = 0x50;
		transport[13] = flags[kind];
		store16(transport + 14, htons(0xffff));
	} else {
		store16(transport + 4, htons(behind));
	}
	/* A payload that is not all zeros, as far as a frame is written. */
	for (byte = at->transport + header; byte < set.written && byte < at->transport + (unsigned)behind; byte++)
		frame[byte] = (uint8_t)(byte * 7);

	set.sums[index].header = family == IPV4 ? sum_words(frame + AT_IP, IPV4_HEADER) : 0;
	set.sums[index].transport = sum_transport(frame, family, behind);
}

static unsigned families(void)
{
	return both_families ? FAMILIES : 1;
}

static void make_templates(void)
{
	for (unsigned family = 0; family < families(); family++)
		for (unsigned kind = 0; kind < KINDS; kind++)
			for (unsigned size = 0; size < sizes; size++)
				for (unsigned direction = 0; direction < 2; direction++)
					for (unsigned tcp = 0; tcp < 2; tcp++)
						for (uint32_t service = 0; service < set.services; service++)
							make_template(family, kind, size, direction, tcp, service);
}

static void read_addresses(void)
{
	static const char *const served[] = { "ipv4", "both", NULL };
	struct addresses *of = &set.addresses[IPV4];

	both_families = setting_word("TRAFFIC_FAMILIES", served) != 0;
	store32(of->client, htonl(setting_address("TRAFFIC_CLIENTS")));
	store32(of->vip, htonl(setting_address("TRAFFIC_VIP")));
	store32(of->real, htonl(setting_address("TRAFFIC_REALS")));
	if (both_families) {
		of = &set.addresses[IPV6];
		setting_address6("TRAFFIC_CLIENTS6", of->client);
		setting_address6("TRAFFIC_VIP6", of->vip);
		setting_address6("TRAFFIC_REALS6", of->real);
	}
	for (unsigned family = 0; family < families(); family++)
		set.clients[family] = ntohl(load32(set.addresses[family].client + layouts[family].address - 4));
}

void frames_setup(void)
{
	static const char *const protocols[] = { "mix", "udp", "tcp", NULL };
	static const char *const mixes[] = { "64", "imix", NULL };
	/* 0: the smallest. */
	static const uint16_t imix[MOST_SIZES] = { 0, 0, 0, 0, 0, 0, 0, 576, 576, 576, 576, 1500 };
	size_t count;

	set.protocols = setting_word("TRAFFIC_PROTOCOLS", protocols);
	set.services = (uint32_t)setting_number("TRAFFIC_SERVICES", 16, 1, MOST_SERVICES);
	if (set.services & (set.services - 1)) {
		fprintf(stderr, "traffic source: TRAFFIC_SERVICES: expected a power of two\n");
		exit(2);
	}
	read_addresses();
	set.vip_port = (uint16_t)setting_number("TRAFFIC_VIP_PORT", 8000, 1, 65535 - MOST_SERVICES);
	set.real_port = (uint16_t)setting_number("TRAFFIC_REAL_PORT", 80, 1, 65535);
	setting_mac("TRAFFIC_GATEWAY_MAC", set.gateway_mac);
	setting_mac("TRAFFIC_REAL_MAC", set.real_mac);
	sizes = setting_word("TRAFFIC_SIZES", mixes) ? MOST_SIZES : 1;
	for (unsigned size = 0; size < sizes; size++)
		set.length[size] = imix[size] ? imix[size] : both_families ? LEAST_OF_BOTH : LEAST_IPV4;
	count = (size_t)families() * KINDS * sizes * 2 * 2 * set.services;
	set.written = both_families ? MOST_WRITTEN : LINE;
	set.templates = aligned_alloc(LINE, count * set.written);
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

/* No branch depends on the flow: families, protocols and services come at random. `both` is known to the compiler. */
static inline __attribute__((always_inline)) void write_frame(uint8_t *frame, struct order order, bool both)
{
	enum family family = both ? order.family : IPV4;
	const struct layout *at = &layouts[family];
	size_t written = both ? MOST_WRITTEN : LINE;
	bool tcp = flow_is_tcp(order.flow);
	size_t index = template_index(family, order.kind, order.size, order.direction, tcp, flow_service(order.flow));
	uint32_t address = client_address(family, order.flow);
	uint16_t port = client_port(order.flow);
	uint32_t changed = halves(address);
	uint16_t transport;

	memcpy(frame, set.templates + index * written, written);
	store32(frame + at->source + ((unsigned)at->address << order.direction) - 4, address);
	store16(frame + at->transport + 2 * order.direction, port);
	store16(frame + at->of_client, checksum_of(set.sums[index].header + changed));
	transport = checksum_of(set.sums[index].transport + changed + port);
	/* 0 would say that a UDP packet has none; for TCP both are right. */
	transport |= (uint16_t)-(transport == 0);
	store16(frame + at->transport + 6 + 10 * tcp, transport);
}

void frames_write(uint8_t *frame, struct order order)
{
	if (both_families)
		write_frame(frame, order, true);
	else
		write_frame(frame, order, false);
}

/* What the balancer must have made of `frame`, but for the checksums. */
static void translate(uint8_t *frame, struct order order)
{
	const struct layout *at = &layouts[order.family];
	uint32_t service = flow_service(order.flow);

	memcpy(frame, order.direction == FORWARD ? set.real_mac : set.gateway_mac, 6);
	memcpy(frame + 6, set.port_mac[!order.direction], 6);
	frame[at->ttl]--;
	if (order.direction == FORWARD) {
		put_real(frame + at->source + at->address, order.family, service);
		store16(frame + at->transport + 2, real_port());
	} else {
		put_vip(frame + at->source, order.family);
		store16(frame + at->transport, vip_port(service));
	}
}

/* Both checksums summed anew over everything that they cover. */
static bool header_checksum_holds(const uint8_t *frame, enum family family)
{
	return family == IPV6 || checksum_of(sum_words(frame + AT_IP, IPV4_HEADER)) == 0;
}

static bool transport_checksum_holds(const uint8_t *frame, enum family family)
{
	const struct layout *at = &layouts[family];
	uint16_t covered = family == IPV4 ? ntohs(load16(frame + AT_IPV4_LENGTH)) - IPV4_HEADER :
					    ntohs(load16(frame + AT_IPV6_LENGTH));

	return checksum_of(sum_transport(frame, family, covered)) == 0 &&
	       !(frame[at->protocol] == UDP && load16(frame + at->transport + 6) == 0);
}

void frames_check(struct page *page, const uint8_t *frame, struct order order)
{
	uint8_t given[MOST_WRITTEN] = { 0 }, expected[MOST_WRITTEN], same[MOST_WRITTEN];
	enum family family = order.family;
	const struct layout *at = &layouts[family];
	unsigned transport = at->transport + (flow_is_tcp(order.flow) ? 16 : 6);
	unsigned near = order.direction, far = !near;
	bool fault[FAULTS] = { false };
	bool any = false;

	frames_write(given, order);
	if (!memcmp(frame, given, set.written)) {
		page->untouched++;
		return;
	}
	/* An RST or an ICMP error to the sender: not forwarded, and counted by the balancer as what it is. */
	if (!memcmp(frame + at->source + at->address, given + at->source, at->address)) {
		page->answered++;
		return;
	}
	page->checked++;
	page->checked_ipv6 += family == IPV6;
	memcpy(expected, given, set.written);
	translate(expected, order);
	/* A checksum is right by what it sums up to, not by its bytes. */
	memcpy(same, frame, set.written);
	if (family == IPV4)
		memcpy(same + AT_HEADER_CHECKSUM, expected + AT_HEADER_CHECKSUM, 2);
	memcpy(same + transport, expected + transport, 2);

#define DIFFERS(at, bytes) (memcmp(frame + (at), expected + (at), bytes) != 0)
#define END_DIFFERS(end) \
	(DIFFERS(at->source + (end) * at->address, at->address) || DIFFERS(at->transport + 2 * (end), 2))
	fault[FAULT_MAC] = DIFFERS(0, 12);
	fault[FAULT_TTL] = DIFFERS(at->ttl, 1);
	fault[FAULT_CLIENT] = END_DIFFERS(near);
	fault[FAULT_ENDPOINT] = END_DIFFERS(far);
#undef END_DIFFERS
#undef DIFFERS
	fault[FAULT_HEADER_CHECKSUM] = !header_checksum_holds(frame, family);
	fault[FAULT_TRANSPORT_CHECKSUM] = !transport_checksum_holds(frame, family);
	for (unsigned index = 0; index < FAULT_OTHER; index++)
		any |= fault[index];
	fault[FAULT_OTHER] = !any && memcmp(same, expected, set.written) != 0;
	any |= fault[FAULT_OTHER];

	for (unsigned index = 0; index < FAULTS; index++)
		page->faults[index] += fault[index];
	if (any && page->faulty++ == 0) {
		page->example_flow = order.flow;
		page->example_direction = order.direction;
		memcpy(page->example_given, given, set.written);
		memcpy(page->example_found, frame, set.written);
	}
}
