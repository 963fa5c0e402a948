// Wrappers of names in <mpi.h> that Swift cannot import, because Open MPI defines them as macros with
// casts: one inline function per macro, and one system call. See README.md.

#ifndef COPENMPI_H
#define COPENMPI_H

#include <mpi.h>
#include <stddef.h>

static inline MPI_Comm COpenMPI_COMM_WORLD(void) { return MPI_COMM_WORLD; }
static inline MPI_Comm COpenMPI_COMM_NULL(void) { return MPI_COMM_NULL; }
static inline MPI_Datatype COpenMPI_BYTE(void) { return MPI_BYTE; }
static inline MPI_Datatype COpenMPI_FLOAT(void) { return MPI_FLOAT; }
static inline MPI_Errhandler COpenMPI_ERRORS_RETURN(void) { return MPI_ERRORS_RETURN; }
static inline MPI_Info COpenMPI_INFO_NULL(void) { return MPI_INFO_NULL; }
static inline void *COpenMPI_IN_PLACE(void) { return MPI_IN_PLACE; }
static inline MPI_Op COpenMPI_SUM(void) { return MPI_SUM; }
static inline MPI_Request COpenMPI_REQUEST_NULL(void) { return MPI_REQUEST_NULL; }
static inline MPI_Status *COpenMPI_STATUS_IGNORE(void) { return MPI_STATUS_IGNORE; }

// glibc declares sched_getaffinity only under _GNU_SOURCE, which Swift's Glibc module does not
// set. The mask has any whole number of 8-byte words. Returns 0, or -1 for an error.
extern int COpenMPI_sched_getaffinity(int process, size_t byteCount, void *mask)
    __asm__("sched_getaffinity");

#endif
