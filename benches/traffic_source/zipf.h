/* Flows drawn by Zipf's law, with what stays in the first-level cache. */
#ifndef ZIPF_H
#define ZIPF_H

#include <math.h>
#include <stdint.h>

#define ZIPF_BITS 12
#define ZIPF_FRACTION (26 - ZIPF_BITS)

struct zipf {
	uint64_t flows;
	uint32_t exponent;	/* log2(2 N + 1) as a fraction of 2^26 */
	uint32_t power[(1 << ZIPF_BITS) + 1];	/* 2^(i / 4096) as a fraction of 2^30 */
};

static inline void zipf_setup(struct zipf *zipf, uint64_t flows)
{
	zipf->flows = flows;
	zipf->exponent = (uint32_t)(log2(2.0 * (double)flows + 1.0) * (1 << 26));
	for (unsigned index = 0; index <= 1 << ZIPF_BITS; index++)
		zipf->power[index] = (uint32_t)(exp2((double)index / (1 << ZIPF_BITS)) * (1u << 30));
}

/*
 * Zipf with exponent 1 over ranks 1 … N: x = (2 N + 1)^u / 2, rounded, has P(k) = ln((2k+1)/(2k-1)) / ln(2N+1), which
 * is 1 / (k H_N) within 9 % at rank 1 and 2 % after it. A table of N entries would make the source miss caches. Between
 * two powers of the table values are interpolated: otherwise an octave would have only 4,096 ranks.
 */
static inline uint32_t zipf_draw(const struct zipf *zipf, uint32_t random)
{
	uint64_t power = ((uint64_t)random * zipf->exponent) >> 32; /* of 2, as a fraction of 2^26 */
	unsigned whole = (unsigned)(power >> 26);
	unsigned index = (unsigned)(power >> ZIPF_FRACTION) & ((1 << ZIPF_BITS) - 1);
	uint64_t beyond = power & ((1 << ZIPF_FRACTION) - 1);
	uint64_t from = zipf->power[index], to = zipf->power[index + 1];
	uint64_t scaled = (from + ((to - from) * beyond >> ZIPF_FRACTION)) << whole;
	uint64_t rank = (scaled + (1u << 30)) >> 31; /* scaled: (2 N + 1)^u / 2, as a fraction of 2^31 */

	rank = rank < 1 ? 1 : rank;
	return (uint32_t)(rank > zipf->flows ? zipf->flows - 1 : rank - 1);
}

#endif
