// libpng as Debian's libpng-dev installs it. Only its simplified API, png_image, is used: setjmp and longjmp stay within
// libpng, and never cross a Swift frame.
#include <png.h>
