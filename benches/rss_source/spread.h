/* Which flows a port's hash key and redirection table lead to which of its queues. */
#pragma once

#include <stdint.h>

#include "frames.h"

#define KEY_BYTES 40
/* With more the source would be what misses caches. */
#define MOST_SPREAD_FLOWS (1u << 24)

/*
 * Puts the flows of a queue into `flows`, which has room for all, and gives their number. A port without RSS, or
 * without a table, spreads by net_null's own key and its queues in turn, as a kernel does by a hash of its own.
 */
uint32_t spread_flows(uint16_t port, enum direction direction, uint16_t queues, uint16_t queue, uint64_t all,
		      uint32_t *flows);
