#include "environment.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Noreturn void refuse(const char *name, const char *wanted)
{
	const char *found = getenv(name);

	fprintf(stderr, "traffic source: %s: expected %s, found %s\n", name, wanted, found ? found : "nothing");
	exit(2);
}

uint64_t setting_number(const char *name, uint64_t otherwise, uint64_t least, uint64_t most)
{
	const char *text = getenv(name);
	char *end, wanted[64];
	unsigned long long value;

	if (!text || !*text)
		return otherwise;
	value = strtoull(text, &end, 10);
	if (*end || *text == '-' || value < least || value > most) {
		snprintf(wanted, sizeof(wanted), "a number from %llu to %llu", (unsigned long long)least,
			 (unsigned long long)most);
		refuse(name, wanted);
	}
	return value;
}

unsigned setting_word(const char *name, const char *const *words)
{
	const char *text = getenv(name);
	char wanted[128] = "one of";
	unsigned index;

	if (!text || !*text)
		return 0;
	for (index = 0; words[index]; index++) {
		if (!strcmp(text, words[index]))
			return index;
		strncat(wanted, " ", sizeof(wanted) - strlen(wanted) - 1);
		strncat(wanted, words[index], sizeof(wanted) - strlen(wanted) - 1);
	}
	refuse(name, wanted);
}

uint32_t setting_address(const char *name)
{
	const char *text = getenv(name);
	struct in_addr address;

	if (!text || inet_pton(AF_INET, text, &address) != 1)
		refuse(name, "an IPv4 address");
	return ntohl(address.s_addr);
}

void setting_address6(const char *name, uint8_t address[16])
{
	const char *text = getenv(name);

	if (!text || inet_pton(AF_INET6, text, address) != 1)
		refuse(name, "an IPv6 address");
}

void setting_mac(const char *name, uint8_t mac[6])
{
	const char *text = getenv(name);
	unsigned byte[6];
	char rest;
	int index;

	if (!text || sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%c", &byte[0], &byte[1], &byte[2], &byte[3], &byte[4],
			    &byte[5], &rest) != 6)
		refuse(name, "a MAC");
	for (index = 0; index < 6; index++)
		mac[index] = (uint8_t)byte[index];
}

const char *setting_text(const char *name)
{
	const char *text = getenv(name);

	if (!text || !*text)
		refuse(name, "a value");
	return text;
}
