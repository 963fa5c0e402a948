// OpenBLAS as Debian's libopenblas-dev installs it, or another CBLAS with LAPACK (launch/pkg-config-files). The names
// import into Swift as they are, apart from those with the prefix COpenBLAS_.
#include <cblas.h>
#include <stddef.h>

#ifdef OPENBLAS_VERSION
static inline void COpenBLAS_set_num_threads(int count) { openblas_set_num_threads(count); }
static inline const char *COpenBLAS_configuration(void) { return openblas_get_config(); }
static inline const char *COpenBLAS_microarchitecture(void) { return openblas_get_corename(); }
#else
typedef int blasint;
// Other libraries have no common function for it; their environment variables decide (docs/install.md).
static inline void COpenBLAS_set_num_threads(int count) { (void)count; }
static inline const char *COpenBLAS_configuration(void) { return "a CBLAS other than OpenBLAS"; }
static inline const char *COpenBLAS_microarchitecture(void) { return "unknown"; }
#endif

// LAPACK's eigenvalues and eigenvectors of a symmetric matrix, which OpenBLAS contains. Declared here, because the header
// lapacke.h belongs to another package. Fortran passes the lengths of strings last.
void dsyevd_(
    const char *jobz, const char *uplo, const blasint *n, double *a, const blasint *lda, double *w,
    double *work, const blasint *lwork, blasint *iwork, const blasint *liwork, blasint *info,
    size_t jobz_length, size_t uplo_length);
