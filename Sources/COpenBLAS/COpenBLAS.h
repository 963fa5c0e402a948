// OpenBLAS as Debian's libopenblas-dev installs it. The names import into Swift as they are.
#include <cblas.h>
