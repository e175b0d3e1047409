/*
 * What Rust can not call or read in DPDK's headers by itself: functions that are `static inline`,
 * macros, and structures whose layout differs from release to release.
 */
#ifndef NATLB_SHIM_H
#define NATLB_SHIM_H

#include <stddef.h>
#include <stdint.h>

#include <rte_ethdev.h>
#include <rte_mbuf.h>

struct rte_flow;

/* Where the fields that Rust reads itself are. The field names are nested differently from 24.07 on. */
enum natlb_mbuf_layout {
	NATLB_MBUF_BUF_ADDR = offsetof(struct rte_mbuf, buf_addr),
	NATLB_MBUF_DATA_OFF = offsetof(struct rte_mbuf, data_off),
	NATLB_MBUF_NB_SEGS = offsetof(struct rte_mbuf, nb_segs),
	NATLB_MBUF_OL_FLAGS = offsetof(struct rte_mbuf, ol_flags),
	NATLB_MBUF_PKT_LEN = offsetof(struct rte_mbuf, pkt_len),
	NATLB_MBUF_DATA_LEN = offsetof(struct rte_mbuf, data_len),
	NATLB_MBUF_BUF_LEN = offsetof(struct rte_mbuf, buf_len),
};

enum natlb_limits {
	/* Bytes in front of a fresh frame. */
	NATLB_HEADROOM = RTE_PKTMBUF_HEADROOM,
	/* The longest pool name, its end included. */
	NATLB_POOL_NAME_SIZE = RTE_MEMPOOL_NAMESIZE,
	NATLB_POOL_CACHE_MAX = RTE_MEMPOOL_CACHE_MAX_SIZE,
	NATLB_ETHER_MTU = RTE_ETHER_MTU,
	/* Ethernet header and frame check sequence. */
	NATLB_ETHER_OVERHEAD = RTE_ETHER_HDR_LEN + RTE_ETHER_CRC_LEN,
	/* Entries of the largest redirection table that is handled. */
	NATLB_RETA_MAX = RTE_ETH_RSS_RETA_SIZE_512 * 4,
	/* For tests: where a configuration has the pointer to the hash key. */
	NATLB_CONF_RSS_KEY = offsetof(struct rte_eth_conf, rx_adv_conf.rss_conf.rss_key),
};

/* bindgen leaves macros out that are made of BIT64. */
extern const uint64_t natlb_rss_ipv4;
extern const uint64_t natlb_rss_frag_ipv4;
extern const uint64_t natlb_rss_ipv4_tcp;
extern const uint64_t natlb_rss_ipv4_udp;
extern const uint64_t natlb_rss_ipv4_other;
extern const uint64_t natlb_rss_ipv6;
extern const uint64_t natlb_rss_frag_ipv6;
extern const uint64_t natlb_rss_ipv6_tcp;
extern const uint64_t natlb_rss_ipv6_udp;
extern const uint64_t natlb_rss_ipv6_other;
extern const uint64_t natlb_rss_l3_src_only;
extern const uint64_t natlb_rss_l3_dst_only;
extern const uint64_t natlb_rss_l4_src_only;
extern const uint64_t natlb_rss_l4_dst_only;

/* Descriptors of a ring; 0: the driver does not say. */
struct natlb_ring_limits {
	uint16_t preferred;
	uint16_t least;
	uint16_t most;
	uint16_t multiple_of;
};

/* The part of rte_eth_dev_info that is used. */
struct natlb_port_info {
	/* The driver's name, with its end. */
	char driver[32];
	uint16_t max_rx_queues;
	uint16_t max_tx_queues;
	uint16_t min_mtu;
	uint16_t max_mtu;
	/* The longest frame, with all that the driver counts to it; checked beside max_mtu. */
	uint32_t max_rx_pktlen;
	/* The smallest buffer that the driver takes. */
	uint32_t min_rx_bufsize;
	struct natlb_ring_limits rx_ring;
	struct natlb_ring_limits tx_ring;
	/* The host's interface that the device stands on, or that it made; 0: none. */
	uint32_t if_index;
	/* Receive-side scaling: entries of the redirection table, bytes of the key (0: unknown), hash types. */
	uint16_t reta_size;
	uint8_t hash_key_size;
	uint64_t rss_types;
};

/* Receive-side scaling as a port is configured with it. */
struct natlb_rss {
	/* NULL: the driver's own. */
	const uint8_t *key;
	uint8_t key_length;
	uint64_t types;
};

struct natlb_port_stats {
	uint64_t rx_packets;
	uint64_t tx_packets;
	uint64_t rx_bytes;
	uint64_t tx_bytes;
	uint64_t rx_missed;
	uint64_t rx_errors;
	uint64_t tx_errors;
	uint64_t rx_no_mbuf;
};

struct natlb_link {
	uint32_t speed_mbps;
	uint8_t up;
};

uint16_t natlb_rx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **frames, uint16_t count);
uint16_t natlb_tx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **frames, uint16_t count);

struct rte_mbuf *natlb_mbuf_alloc(struct rte_mempool *pool);
void natlb_mbuf_free(struct rte_mbuf *frame);
void natlb_mbuf_free_bulk(struct rte_mbuf **frames, uint32_t count);

uint64_t natlb_tsc(void);
int natlb_errno(void);

/* Negative errno on failure, as the functions of DPDK that they call. */
int natlb_port_info(uint16_t port, struct natlb_port_info *info);
/* Without RSS if `rss` is NULL. */
int natlb_port_configure(uint16_t port, uint16_t rx_queues, uint16_t tx_queues, uint16_t mtu,
			 const struct natlb_rss *rss);
/* `size` is that of the device, at most NATLB_RETA_MAX. */
int natlb_port_set_reta(uint16_t port, const uint16_t *queues, uint16_t size);
int natlb_port_reta(uint16_t port, uint16_t *queues, uint16_t size);
/* Reads `key_length` bytes of key, and the types that are in force. */
int natlb_port_rss(uint16_t port, uint8_t *key, uint8_t key_length, uint64_t *types);
int natlb_port_set_rss(uint16_t port, const struct natlb_rss *rss);
/* Makes a flow rule for IPv4: of one protocol (TCP or UDP; 0: any) and to one destination (four bytes; NULL: any), with
 * `rss` over a table of queues. Without a key or queues it uses the port's. Returns NULL if it is refused, with
 * rte_errno and the driver's words. */
struct rte_flow *natlb_rss_rule(uint16_t port, uint8_t protocol, const uint8_t *destination,
				const struct natlb_rss *rss, const uint16_t *queues, uint16_t queue_count,
				char *why, size_t why_size);
int natlb_rule_destroy(uint16_t port, struct rte_flow *rule);
/* The Toeplitz hash as DPDK computes it, of `words` 32-bit words in the host's order. */
uint32_t natlb_softrss(const uint32_t *input, uint32_t words, const uint8_t *key);
int natlb_port_stats(uint16_t port, struct natlb_port_stats *stats);
int natlb_port_link(uint16_t port, struct natlb_link *link);
int natlb_port_mac(uint16_t port, uint8_t mac[6]);
int natlb_port_set_mac(uint16_t port, const uint8_t mac[6]);

/* Called with the level of a message (1 to 8) and a piece of it, mostly a whole line. */
typedef void (*natlb_log_function)(int level, const char *text, size_t length);
/* From now on DPDK's messages go to `function`; negative errno on failure. Also before the EAL is started. */
int natlb_log_to(natlb_log_function function);

#endif
