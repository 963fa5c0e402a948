import COpenMPI
import Collectives

extension MPICommunicator {
  /// Asks for the rank and size within a communicator.
  static func place(in communicator: MPI_Comm?) throws -> (rank: Int, size: Int) {
    var rank: Int32 = 0
    var size: Int32 = 0
    try MPIError.check(MPI_Comm_rank(communicator, &rank), in: "MPI_Comm_rank", rank: nil)
    try MPIError.check(MPI_Comm_size(communicator, &size), in: "MPI_Comm_size", rank: nil)
    return (Int(rank), Int(size))
  }

  /// Asks for the rank and size among the ranks that share this host's memory; collective.
  static func localPlace(in world: MPI_Comm?, rank: Int) throws -> (rank: Int, size: Int) {
    var local = COpenMPI_COMM_NULL()
    try MPIError.check(
      MPI_Comm_split_type(
        world, Int32(MPI_COMM_TYPE_SHARED), Int32(rank), COpenMPI_INFO_NULL(), &local),
      in: "MPI_Comm_split_type", rank: rank)
    let place = try place(in: local)
    try MPIError.check(MPI_Comm_free(&local), in: "MPI_Comm_free", rank: rank)
    return place
  }

  /// Asks for the host's name.
  static func processorName(rank: Int) throws -> String {
    var characters = [CChar](repeating: 0, count: Int(MPI_MAX_PROCESSOR_NAME) + 1)
    var length: Int32 = 0
    try MPIError.check(
      MPI_Get_processor_name(&characters, &length), in: "MPI_Get_processor_name", rank: rank)
    return String(
      decoding: characters.prefix(Int(length)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  /// Asks all ranks for their hosts; collective.
  ///
  /// The first rank of a host lends its number to all ranks there.
  ///
  /// - Parameters:
  ///   - world: All ranks.
  ///   - rank: This rank.
  ///   - size: How many there are.
  ///   - pretendedCount: How many ranks in a row are to be taken for those of one host; nil: ask MPI.
  /// - Returns: Numbers from 0, in the order of the hosts' first ranks.
  /// - Throws: ``CommunicationError`` if the exchange fails.
  static func hosts(
    in world: MPI_Comm?, rank: Int, size: Int, pretendedCount: Int?
  ) throws -> [Int] {
    var local = COpenMPI_COMM_NULL()
    try MPIError.check(
      MPI_Comm_split_type(
        world, Int32(MPI_COMM_TYPE_SHARED), Int32(rank), COpenMPI_INFO_NULL(), &local),
      in: "MPI_Comm_split_type", rank: rank)
    var first = Int32(rank)
    try MPIError.check(
      MPI_Bcast(&first, 4, COpenMPI_BYTE(), 0, local), in: "MPI_Bcast", rank: rank)
    try MPIError.check(MPI_Comm_free(&local), in: "MPI_Comm_free", rank: rank)
    if let pretendedCount { first = Int32(rank / pretendedCount * pretendedCount) }
    // Gathered in any case, so that all ranks have one table even if their environments differ.
    var firsts = [Int32](repeating: 0, count: size)
    try MPIError.check(
      MPI_Allgather(&first, 4, COpenMPI_BYTE(), &firsts, 4, COpenMPI_BYTE(), world),
      in: "MPI_Allgather", rank: rank)
    var numbers: [Int32: Int] = [:]
    return firsts.map { first in
      let number = numbers[first] ?? numbers.count
      numbers[first] = number
      return number
    }
  }
}
