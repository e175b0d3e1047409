#include "spread.h"

#include <arpa/inet.h>
#include <stdbool.h>
#include <string.h>

#include <rte_ethdev.h>
#include <rte_thash.h>

#define MOST_ENTRIES 512
#define GROUPS (MOST_ENTRIES / RTE_ETH_RETA_GROUP_SIZE)

/* By the table that was set; by the queues in turn where none was. */
static uint16_t read_table(uint16_t port, uint16_t queues, uint16_t *table)
{
	struct rte_eth_rss_reta_entry64 groups[GROUPS];
	struct rte_eth_dev_info info;
	bool any = false;
	uint16_t size;

	if (rte_eth_dev_info_get(port, &info) || info.reta_size == 0 || info.reta_size > MOST_ENTRIES)
		return 0;
	size = info.reta_size;
	memset(groups, 0, sizeof(groups));
	for (uint16_t group = 0; group < GROUPS; group++)
		groups[group].mask = UINT64_MAX;
	if (!rte_eth_dev_rss_reta_query(port, groups, size))
		for (uint16_t entry = 0; entry < size; entry++)
			any |= (table[entry] = groups[entry / RTE_ETH_RETA_GROUP_SIZE].reta[entry % RTE_ETH_RETA_GROUP_SIZE]);
	for (uint16_t entry = 0; !any && entry < size; entry++)
		table[entry] = entry % queues;
	return size;
}

/* The fields as the frame has them, in the order in which RSS hashes them, in host byte order. */
static void fields(uint32_t flow, enum direction direction, uint32_t tuple[3])
{
	uint8_t line[MOST_WRITTEN];
	uint16_t ports[2];

	frames_write(line, (struct order){ .flow = flow, .direction = (uint8_t)direction, .kind = DATA });
	memcpy(tuple, line + 26, 8);
	memcpy(ports, line + 34, 4);
	tuple[0] = ntohl(tuple[0]);
	tuple[1] = ntohl(tuple[1]);
	tuple[2] = (uint32_t)ntohs(ports[0]) << 16 | ntohs(ports[1]);
}

uint32_t spread_flows(uint16_t port, enum direction direction, uint16_t queues, uint16_t queue, uint64_t all,
		      uint32_t *flows)
{
	uint8_t key[256] = { 0 };
	struct rte_eth_rss_conf rss = { .rss_key = key, .rss_key_len = KEY_BYTES };
	uint16_t table[MOST_ENTRIES] = { 0 };
	uint32_t count = 0, tuple[3];
	uint16_t size = read_table(port, queues, table);

	if (queues > 1 && (!size || rte_eth_dev_rss_hash_conf_get(port, &rss)))
		return 0;
	for (uint32_t flow = 0; flow < all; flow++) {
		fields(flow, direction, tuple);
		if (queues == 1 || table[rte_softrss(tuple, 3, key) & (size - 1u)] == queue)
			flows[count++] = flow;
	}
	return count;
}
