#include "traffic.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <rte_cycles.h>

#include "environment.h"
#include "zipf.h"

enum pattern { UNIFORM, ZIPF, NEW, CONNECTIONS };
enum sides { MIXED, FORWARD_ONLY, REVERSE_ONLY };

/* Connections that are opened and closed: so many groups at once, each of a burst's size. */
#define GROUPS 8
#define STEPS 7

static const struct {
	enum direction direction;
	enum kind kind;
} steps[STEPS] = {
	{ FORWARD, SYN }, { REVERSE, SYN_ACK }, { FORWARD, ACK }, { FORWARD, DATA },
	{ REVERSE, FIN }, { FORWARD, FIN }, { REVERSE, ACK },
};

struct group {
	uint64_t first;		/* its connections follow each other */
	unsigned count;
	unsigned step;
};

static struct {
	struct page *page;
	enum pattern pattern;
	enum sides sides;
	uint64_t flows;
	uint64_t warm_frames;	/* of the warm-up, all passes */
	uint64_t warmed;	/* those given */
	uint64_t random;
	uint64_t next;		/* connection to open next */
	uint64_t rate;		/* new connections a second among the others, */
	uint64_t rate_since;	/* since this reading of the time stamp counter, */
	uint64_t rate_opened;	/* of which so many were opened */
	uint64_t bursts;
	struct group groups[GROUPS];
	unsigned group;
	struct zipf zipf;
} set;

/* Of both families, where there are both. */
static uint64_t warm_flows(void)
{
	return both_families ? FAMILIES * set.flows : set.flows;
}

void traffic_setup(struct page *page)
{
	static const char *const patterns[] = { "uniform", "zipf", "new", "connections", NULL };
	static const char *const sides[] = { "mixed", "forward", "reverse", NULL };

	set.page = page;
	set.pattern = setting_word("TRAFFIC_PATTERN", patterns);
	set.sides = setting_word("TRAFFIC_DIRECTION", sides);
	set.flows = setting_number("TRAFFIC_FLOWS", 1000, 1, MOST_FLOWS);
	set.random = setting_number("TRAFFIC_SEED", 1, 0, UINT64_MAX) * 2 + 1;
	/* New connections are their own warm-up. Else each flow opens (TCP: SYN), and then is established (ACK). */
	set.warm_frames = set.pattern >= NEW ? 0 : 2 * warm_flows();
	page->warm = set.warm_frames == 0;
	zipf_setup(&set.zipf, set.flows);
	if (both_families && set.pattern != UNIFORM) {
		fprintf(stderr, "traffic source: TRAFFIC_FAMILIES=both: expected TRAFFIC_PATTERN=uniform\n");
		exit(2);
	}
}

enum direction traffic_next_direction(void)
{
	if (!set.page->warm || set.sides == FORWARD_ONLY)
		return FORWARD;
	return set.sides == REVERSE_ONLY ? REVERSE : (set.bursts++ & 1 ? REVERSE : FORWARD);
}

/* 64 bits of state multiplied, the upper half taken: cheap, and good enough to draw flows. */
static inline uint32_t random32(void)
{
	set.random = set.random * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(set.random >> 32);
}

static inline uint32_t below(uint32_t random, uint64_t bound)
{
	return (uint32_t)((random * bound) >> 32);
}

static inline uint8_t draw_size(void)
{
	return sizes == 1 ? 0 : (uint8_t)below(random32(), sizes);
}

/* A packet of IPv4 alone. */
static inline struct order packet(uint32_t flow, enum direction direction, enum kind kind)
{
	return (struct order){
		.flow = flow, .direction = (uint8_t)direction, .kind = (uint8_t)kind, .size = draw_size(), .family = IPV4,
	};
}

/* Its last burst may go on with the first flows again. */
static unsigned warm_up(struct order *orders, unsigned count)
{
	for (unsigned index = 0; index < count; index++, set.warmed++)
		orders[index] = (struct order){
			.flow = (uint32_t)(set.warmed % set.flows),
			.direction = FORWARD,
			.kind = set.warmed < warm_flows() ? SYN : ACK,
			.size = 0,
			.family = set.warmed % warm_flows() < set.flows ? IPV4 : IPV6,
		};
	set.page->warm = set.warmed >= set.warm_frames;
	return count;
}

/*
 * Puts new connections in the place of packets of the others, as many as are due by now. They begin past the others,
 * and none is used again before all were. A source that was held or paused does not make up for it.
 */
static void open_some(struct order *orders, unsigned count)
{
	uint64_t now = rte_rdtsc(), rate = set.page->new_rate;
	uint64_t due = (uint64_t)((__uint128_t)(now - set.rate_since) * rate / set.page->tsc_hz);
	unsigned index;

	if (rate != set.rate || due - set.rate_opened > rate / 10) {
		set.rate = rate;
		set.rate_since = now;
		set.rate_opened = due = 0;
	}
	for (index = 0; index < count && set.rate_opened < due; index++, set.rate_opened++)
		orders[index] = (struct order){
			.flow = (uint32_t)(set.flows + set.next++ % (MOST_FLOWS - set.flows)),
			.direction = FORWARD,
			.kind = SYN,
			.size = 0,
		};
	set.page->connections += index;
}

/* The next step of a group that has to go this way; all bursts have to ask for equally many. */
static unsigned next_step(enum direction direction, struct order *orders, unsigned count)
{
	for (unsigned tried = 0; tried < GROUPS; tried++) {
		struct group *group = &set.groups[set.group];

		set.group = (set.group + 1) % GROUPS;
		if (group->count == 0) {
			if (direction == REVERSE)
				continue;
			*group = (struct group){ .first = set.next, .count = count, .step = 0 };
			set.next += count;
		}
		if (steps[group->step].direction != direction || group->count != count)
			continue;
		for (unsigned index = 0; index < count; index++)
			orders[index] = (struct order){
				.flow = (uint32_t)((group->first + index) % set.flows),
				.direction = (uint8_t)direction,
				.kind = steps[group->step].kind,
				.size = 0,
			};
		if (group->step == 0)
			set.page->connections += count;
		if (++group->step == STEPS)
			group->count = 0;
		return count;
	}
	return 0;
}

/*
 * Packets of the families that are wanted now. Of half and half each packet's family is drawn, so that no branch can
 * foresee it; alternating, they come in turn. Of each family half of the flows come: as many in all as of one alone.
 */
static void draw_families(enum direction direction, struct order *orders, unsigned count)
{
	uint64_t wanted = set.page->families, flows = set.flows;
	uint8_t always = wanted == IPV6_ALONE, drawn = wanted == HALF_AND_HALF, in_turn = wanted == ALTERNATING;

	if ((drawn || in_turn) && flows > 1)
		flows /= 2;
	for (unsigned index = 0; index < count; index++) {
		uint32_t random = random32();

		/* The lowest bit says next to nothing about the flow, which the upper bits choose. */
		orders[index] = (struct order){
			.flow = below(random, flows),
			.direction = (uint8_t)direction,
			.kind = DATA,
			.size = draw_size(),
			.family = always | (drawn & random & 1) | (in_turn & index & 1),
		};
	}
}

unsigned traffic_next(enum direction direction, struct order *orders, unsigned count)
{
	if (!set.page->warm)
		return direction == REVERSE ? 0 : warm_up(orders, count);
	if ((set.sides == FORWARD_ONLY && direction == REVERSE) || (set.sides == REVERSE_ONLY && direction == FORWARD))
		return 0;
	switch (set.pattern) {
	case UNIFORM:
		if (both_families) {
			draw_families(direction, orders, count);
			return count;
		}
		for (unsigned index = 0; index < count; index++)
			orders[index] = packet(below(random32(), set.flows), direction, DATA);
		if (set.page->new_rate && direction == FORWARD && set.flows < MOST_FLOWS)
			open_some(orders, count);
		return count;
	case ZIPF:
		for (unsigned index = 0; index < count; index++)
			orders[index] = packet(zipf_draw(&set.zipf, random32()), direction, DATA);
		return count;
	case NEW:
		if (direction == REVERSE)
			return 0;
		for (unsigned index = 0; index < count; index++)
			orders[index] = packet((uint32_t)(set.next++ % set.flows), direction, SYN);
		set.page->connections += count;
		return count;
	case CONNECTIONS:
		return next_step(direction, orders, count);
	}
	return 0;
}
