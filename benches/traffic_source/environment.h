/* Settings from the environment; a wrong one ends the program with a message. */
#pragma once

#include <stdint.h>

uint64_t setting_number(const char *name, uint64_t otherwise, uint64_t least, uint64_t most);
/* The index of the value among `words` (ended by NULL); 0 if it is not set. */
unsigned setting_word(const char *name, const char *const *words);
/* A dotted IPv4 address, in host byte order. */
uint32_t setting_address(const char *name);
/* An IPv6 address, in network byte order. */
void setting_address6(const char *name, uint8_t address[16]);
void setting_mac(const char *name, uint8_t mac[6]);
const char *setting_text(const char *name);
