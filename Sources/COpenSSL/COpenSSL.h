// OpenSSL's message digests, version 1.1 or newer. Only the Digests module imports them.
#include <openssl/crypto.h>
#include <openssl/evp.h>
