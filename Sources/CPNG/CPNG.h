// libpng. Its simplified interface (png_image_…) reports errors by value, where the other one would need setjmp.
#pragma once
#include <png.h>
