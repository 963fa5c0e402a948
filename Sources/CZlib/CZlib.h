// zlib as Debian's zlib1g-dev installs it, for the CRC-32 of zip files.
#include <zlib.h>
