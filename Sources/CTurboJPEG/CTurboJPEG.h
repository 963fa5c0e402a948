// libjpeg-turbo's TurboJPEG API as Debian's libturbojpeg0-dev installs it. Unlike the libjpeg API it returns error codes:
// setjmp and longjmp stay within the library.
#include <turbojpeg.h>
