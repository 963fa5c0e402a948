// OpenBLAS as Debian's libopenblas-dev installs it. The names import into Swift as they are.
#include <cblas.h>
#include <stddef.h>

// LAPACK's eigenvalues and eigenvectors of a symmetric matrix, which OpenBLAS contains. Declared here, because the header
// lapacke.h belongs to another package. Fortran passes the lengths of strings last.
void dsyevd_(
    const char *jobz, const char *uplo, const blasint *n, double *a, const blasint *lda, double *w,
    double *work, const blasint *lwork, blasint *iwork, const blasint *liwork, blasint *info,
    size_t jobz_length, size_t uplo_length);
