#include "shim.h"

#include <string.h>

#include <rte_cycles.h>
#include <rte_errno.h>
#include <rte_ether.h>
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
FIELD(buf_len, uint16_t, 54);
_Static_assert(sizeof(void *) == 8, "64-bit machines only");

const uint64_t natlb_rx_flag_vlan_stripped = RTE_MBUF_F_RX_VLAN_STRIPPED;

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
		.preferred_rx_descriptors = all.default_rxportconf.ring_size,
		.preferred_tx_descriptors = all.default_txportconf.ring_size,
	};
	if (all.driver_name != NULL)
		strncpy(info->driver, all.driver_name, sizeof(info->driver) - 1);
	return 0;
}

int natlb_port_configure(uint16_t port, uint16_t rx_queues, uint16_t tx_queues, uint16_t mtu)
{
	struct rte_eth_conf conf;

	/* All zero: no offload, no multi-queue mode, no interrupt. */
	memset(&conf, 0, sizeof(conf));
	conf.rxmode.mtu = mtu;
	return rte_eth_dev_configure(port, rx_queues, tx_queues, &conf);
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
