/* Traffic: which packet comes next. Used by one thread only. */
#pragma once

#include <stdbool.h>

#include "frames.h"
#include "page.h"

/* Reads what is set in the environment. */
void traffic_setup(struct page *page);

/* Which direction a program's shared pool gives next, where a pool is not of one side. */
enum direction traffic_next_direction(void);

/*
 * The next packets of a direction, as many as `count` at most. Fewer, or none, where there is nothing to send yet:
 * replies before the warm-up is over, or in the middle of a handshake.
 */
unsigned traffic_next(enum direction direction, struct order *orders, unsigned count);
