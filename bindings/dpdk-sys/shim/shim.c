#include "shim.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include <rte_cycles.h>
#include <rte_errno.h>
#include <rte_ether.h>
#include <rte_flow.h>
#include <rte_log.h>
#include <rte_thash.h>
#include <rte_version.h>

_Static_assert(RTE_VERSION >= RTE_VERSION_NUM(22, 11, 0, 0), "DPDK 22.11 or later is needed");
_Static_assert(RTE_VERSION < RTE_VERSION_NUM(26, 0, 0, 0), "DPDK 26 and later are not supported");

/* Rust reads these fields with loads of these widths. The offsets are taken from the header, and are
 * the same from 22.11 to 25.11: a header that says otherwise is not one that this was written for. */
#define FIELD(field, type, offset)                                                                  \
	_Static_assert(sizeof(((struct rte_mbuf *)0)->field) == sizeof(type), "width of " #field);  \
	_Static_assert(offsetof(struct rte_mbuf, field) == (offset), "offset of " #field)
FIELD(buf_addr, void *, 0);
FIELD(data_off, uint16_t, sizeof(void *) + 8);
FIELD(nb_segs, uint16_t, sizeof(void *) + 12);
FIELD(ol_flags, uint64_t, 24);
FIELD(pkt_len, uint32_t, 36);
FIELD(data_len, uint16_t, 40);
FIELD(hash.rss, uint32_t, 44);
FIELD(buf_len, uint16_t, 54);
/* The flags that Rust names HEADER_WRONG and HEADER_RIGHT. */
_Static_assert(RTE_MBUF_F_RX_IP_CKSUM_BAD == 1 << 4 && RTE_MBUF_F_RX_IP_CKSUM_GOOD == 1 << 7, "header checksum flags");
_Static_assert(sizeof(void *) == 8, "64-bit machines only");

const uint64_t natlb_rss_ipv4 = RTE_ETH_RSS_IPV4;
const uint64_t natlb_rss_frag_ipv4 = RTE_ETH_RSS_FRAG_IPV4;
const uint64_t natlb_rss_ipv4_tcp = RTE_ETH_RSS_NONFRAG_IPV4_TCP;
const uint64_t natlb_rss_ipv4_udp = RTE_ETH_RSS_NONFRAG_IPV4_UDP;
const uint64_t natlb_rss_ipv4_other = RTE_ETH_RSS_NONFRAG_IPV4_OTHER;
const uint64_t natlb_rss_ipv6 = RTE_ETH_RSS_IPV6;
const uint64_t natlb_rss_frag_ipv6 = RTE_ETH_RSS_FRAG_IPV6;
const uint64_t natlb_rss_ipv6_tcp = RTE_ETH_RSS_NONFRAG_IPV6_TCP;
const uint64_t natlb_rss_ipv6_udp = RTE_ETH_RSS_NONFRAG_IPV6_UDP;
const uint64_t natlb_rss_ipv6_other = RTE_ETH_RSS_NONFRAG_IPV6_OTHER;
const uint64_t natlb_rss_l3_src_only = RTE_ETH_RSS_L3_SRC_ONLY;
const uint64_t natlb_rss_l3_dst_only = RTE_ETH_RSS_L3_DST_ONLY;
const uint64_t natlb_rss_l4_src_only = RTE_ETH_RSS_L4_SRC_ONLY;
const uint64_t natlb_rss_l4_dst_only = RTE_ETH_RSS_L4_DST_ONLY;

uint16_t natlb_rx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **frames, uint16_t count)
{
	return rte_eth_rx_burst(port, queue, frames, count);
}

uint16_t natlb_tx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **frames, uint16_t count)
{
	return rte_eth_tx_burst(port, queue, frames, count);
}

struct rte_mbuf *natlb_mbuf_alloc(struct rte_mempool *pool)
{
	return rte_pktmbuf_alloc(pool);
}

void natlb_mbuf_free(struct rte_mbuf *frame)
{
	rte_pktmbuf_free(frame);
}

void natlb_mbuf_free_bulk(struct rte_mbuf **frames, uint32_t count)
{
	rte_pktmbuf_free_bulk(frames, count);
}

uint64_t natlb_tsc(void)
{
	return rte_rdtsc();
}

int natlb_errno(void)
{
	return rte_errno;
}

static struct natlb_ring_limits ring_limits(const struct rte_eth_desc_lim *limits, uint16_t preferred)
{
	return (struct natlb_ring_limits){
		.preferred = preferred,
		.least = limits->nb_min,
		.most = limits->nb_max,
		.multiple_of = limits->nb_align,
	};
}

int natlb_port_info(uint16_t port, struct natlb_port_info *info)
{
	struct rte_eth_dev_info all;
	int error = rte_eth_dev_info_get(port, &all);

	if (error != 0)
		return error;
	*info = (struct natlb_port_info){
		.max_rx_queues = all.max_rx_queues,
		.max_tx_queues = all.max_tx_queues,
		.min_mtu = all.min_mtu,
		.max_mtu = all.max_mtu,
		.max_rx_pktlen = all.max_rx_pktlen,
		.min_rx_bufsize = all.min_rx_bufsize,
		.rx_ring = ring_limits(&all.rx_desc_lim, all.default_rxportconf.ring_size),
		.tx_ring = ring_limits(&all.tx_desc_lim, all.default_txportconf.ring_size),
		.if_index = all.if_index,
		.reta_size = all.reta_size,
		.hash_key_size = all.hash_key_size,
		.rss_types = all.flow_type_rss_offloads,
	};
	if (all.driver_name != NULL)
		strncpy(info->driver, all.driver_name, sizeof(info->driver) - 1);
	return 0;
}

int natlb_port_configure(uint16_t port, uint16_t rx_queues, uint16_t tx_queues, uint16_t mtu,
			 const struct natlb_rss *rss)
{
	const uint64_t header_check = RTE_ETH_RX_OFFLOAD_IPV4_CKSUM;
	struct rte_eth_dev_info info;
	struct rte_eth_conf conf;
	int error;

	/* All zero: no offload, no multi-queue mode, no interrupt. */
	memset(&conf, 0, sizeof(conf));
	conf.rxmode.mtu = mtu;
	if (rss != NULL) {
		conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
		if (rss->key_length != 0)
			conf.rx_adv_conf.rss_conf.rss_key = (uint8_t *)(uintptr_t)rss->key;
		conf.rx_adv_conf.rss_conf.rss_key_len = rss->key_length;
		conf.rx_adv_conf.rss_conf.rss_hf = rss->types;
	}
	/* The one offload that is used where there is one: otherwise the worker adds headers up. */
	if (rte_eth_dev_info_get(port, &info) == 0)
		conf.rxmode.offloads = info.rx_offload_capa & header_check;
	error = rte_eth_dev_configure(port, rx_queues, tx_queues, &conf);
	if (error != 0 && conf.rxmode.offloads != 0) {
		conf.rxmode.offloads = 0;
		error = rte_eth_dev_configure(port, rx_queues, tx_queues, &conf);
	}
	return error;
}

#define RETA_GROUPS (NATLB_RETA_MAX / RTE_ETH_RETA_GROUP_SIZE)

int natlb_port_set_reta(uint16_t port, const uint16_t *queues, uint16_t size)
{
	struct rte_eth_rss_reta_entry64 groups[RETA_GROUPS];

	if (size > NATLB_RETA_MAX)
		return -EINVAL;
	memset(groups, 0, sizeof(groups));
	for (uint16_t i = 0; i < size; i++) {
		struct rte_eth_rss_reta_entry64 *group = &groups[i / RTE_ETH_RETA_GROUP_SIZE];

		group->mask |= RTE_BIT64(i % RTE_ETH_RETA_GROUP_SIZE);
		group->reta[i % RTE_ETH_RETA_GROUP_SIZE] = queues[i];
	}
	return rte_eth_dev_rss_reta_update(port, groups, size);
}

int natlb_port_reta(uint16_t port, uint16_t *queues, uint16_t size)
{
	struct rte_eth_rss_reta_entry64 groups[RETA_GROUPS];
	int error;

	if (size > NATLB_RETA_MAX)
		return -EINVAL;
	memset(groups, 0, sizeof(groups));
	for (uint16_t i = 0; i < size; i++)
		groups[i / RTE_ETH_RETA_GROUP_SIZE].mask |= RTE_BIT64(i % RTE_ETH_RETA_GROUP_SIZE);
	error = rte_eth_dev_rss_reta_query(port, groups, size);
	for (uint16_t i = 0; error == 0 && i < size; i++)
		queues[i] = groups[i / RTE_ETH_RETA_GROUP_SIZE].reta[i % RTE_ETH_RETA_GROUP_SIZE];
	return error;
}

int natlb_port_rss(uint16_t port, uint8_t *key, uint8_t key_length, uint64_t *types)
{
	struct rte_eth_rss_conf conf;
	/* net_null of 22.11 writes 40 bytes, whatever the length. */
	uint8_t whole[UINT8_MAX + 1] = { 0 };
	int error;

	memset(&conf, 0, sizeof(conf));
	conf.rss_key = whole;
	conf.rss_key_len = key_length;
	error = rte_eth_dev_rss_hash_conf_get(port, &conf);
	memcpy(key, whole, key_length);
	*types = conf.rss_hf;
	return error;
}

int natlb_port_set_rss(uint16_t port, const struct natlb_rss *rss)
{
	struct rte_eth_rss_conf conf;

	memset(&conf, 0, sizeof(conf));
	if (rss->key_length != 0)
		conf.rss_key = (uint8_t *)(uintptr_t)rss->key;
	conf.rss_key_len = rss->key_length;
	conf.rss_hf = rss->types;
	return rte_eth_dev_rss_hash_update(port, &conf);
}

struct rte_flow *natlb_rss_rule(uint16_t port, uint8_t protocol, const uint8_t *destination,
				const struct natlb_rss *rss, const uint16_t *queues, uint16_t queue_count,
				char *why, size_t why_size)
{
	const struct rte_flow_attr attributes = { .ingress = 1 };
	struct rte_flow_item_ipv4 address, mask;
	struct rte_flow_item pattern[] = {
		{ .type = RTE_FLOW_ITEM_TYPE_ETH },
		{ .type = RTE_FLOW_ITEM_TYPE_IPV4 },
		{ .type = protocol == IPPROTO_TCP ? RTE_FLOW_ITEM_TYPE_TCP :
			  protocol == IPPROTO_UDP ? RTE_FLOW_ITEM_TYPE_UDP :
						    RTE_FLOW_ITEM_TYPE_END },
		{ .type = RTE_FLOW_ITEM_TYPE_END },
	};
	const struct rte_flow_action_rss action = {
		.types = rss->types,
		.key = rss->key_length != 0 ? rss->key : NULL,
		.key_len = rss->key_length,
		.queue = queue_count != 0 ? queues : NULL,
		.queue_num = queue_count,
	};
	const struct rte_flow_action actions[] = {
		{ .type = RTE_FLOW_ACTION_TYPE_RSS, .conf = &action },
		{ .type = RTE_FLOW_ACTION_TYPE_END },
	};
	struct rte_flow_error error;
	struct rte_flow *rule;

	if (destination != NULL) {
		memset(&address, 0, sizeof(address));
		memset(&mask, 0, sizeof(mask));
		memcpy(&address.hdr.dst_addr, destination, sizeof(address.hdr.dst_addr));
		memset(&mask.hdr.dst_addr, 0xff, sizeof(mask.hdr.dst_addr));
		pattern[1].spec = &address;
		pattern[1].mask = &mask;
	}
	memset(&error, 0, sizeof(error));
	rule = rte_flow_create(port, &attributes, pattern, actions, &error);
	snprintf(why, why_size, "%s", rule == NULL && error.message != NULL ? error.message : "");
	return rule;
}

int natlb_rule_destroy(uint16_t port, struct rte_flow *rule)
{
	struct rte_flow_error error;

	memset(&error, 0, sizeof(error));
	return rte_flow_destroy(port, rule, &error);
}

uint32_t natlb_softrss(const uint32_t *input, uint32_t words, const uint8_t *key)
{
	return rte_softrss((uint32_t *)(uintptr_t)input, words, key);
}

int natlb_port_stats(uint16_t port, struct natlb_port_stats *stats)
{
	struct rte_eth_stats all;
	int error = rte_eth_stats_get(port, &all);

	if (error != 0)
		return error;
	*stats = (struct natlb_port_stats){
		.rx_packets = all.ipackets,
		.tx_packets = all.opackets,
		.rx_bytes = all.ibytes,
		.tx_bytes = all.obytes,
		.rx_missed = all.imissed,
		.rx_errors = all.ierrors,
		.tx_errors = all.oerrors,
		.rx_no_mbuf = all.rx_nombuf,
	};
	return 0;
}

int natlb_port_link(uint16_t port, struct natlb_link *link)
{
	struct rte_eth_link all;
	int error;

	memset(&all, 0, sizeof(all));
	error = rte_eth_link_get_nowait(port, &all);
	if (error != 0)
		return error;
	*link = (struct natlb_link){ .speed_mbps = all.link_speed, .up = all.link_status };
	return 0;
}

int natlb_port_mac(uint16_t port, uint8_t mac[6])
{
	struct rte_ether_addr address;
	int error = rte_eth_macaddr_get(port, &address);

	if (error == 0)
		memcpy(mac, address.addr_bytes, sizeof(address.addr_bytes));
	return error;
}

int natlb_port_set_mac(uint16_t port, const uint8_t mac[6])
{
	struct rte_ether_addr address;

	memcpy(address.addr_bytes, mac, sizeof(address.addr_bytes));
	return rte_eth_dev_default_mac_addr_set(port, &address);
}

static natlb_log_function log_function;

/* DPDK flushes after each message, in the thread whose message it is. */
static ssize_t natlb_log_write(void *cookie, const char *text, size_t length)
{
	(void)cookie;
	log_function(rte_log_cur_msg_loglevel(), text, length);
	return (ssize_t)length;
}

int natlb_log_to(natlb_log_function function)
{
	cookie_io_functions_t functions = { .write = natlb_log_write };
	FILE *stream = fopencookie(NULL, "w", functions);

	if (stream == NULL)
		return -(errno == 0 ? ENOMEM : errno);
	log_function = function;
	return rte_openlog_stream(stream);
}
