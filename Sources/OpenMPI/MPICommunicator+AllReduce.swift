import COpenMPI
import Collectives

extension MPICommunicator {
  /// Adds up the elements of all ranks in an order that Open MPI chooses (`MPI_Allreduce`).
  ///
  /// For the benchmark that the exchange of gradients is measured against, and for nothing else: the sums depend on the
  /// number of ranks and on how Open MPI was built. Every rank calls it.
  ///
  /// - Parameter elements: This rank's numbers, replaced by the sums; the same count on every rank, at most 2^31 − 1.
  /// - Throws: ``CommunicationError`` if the exchange fails.
  public func addInAnyOrder(_ elements: UnsafeMutableBufferPointer<Float>) throws {
    try locked {
      try MPIError.check(
        MPI_Allreduce(
          COpenMPI_IN_PLACE(), elements.baseAddress, Int32(elements.count), COpenMPI_FLOAT(),
          COpenMPI_SUM(),
          communicator), in: "MPI_Allreduce", rank: rank)
    }
  }
}
