import COpenMPI
import Collectives
import Glibc

extension MPICommunicator {
  /// Collective: returns a communicator of the ranks that compute, and `nil` on the others (`MPI_Comm_split`).
  ///
  /// At least one rank of every host computes, so hosts keep their numbers.
  func split(_ computes: [Bool]) throws -> MPICommunicator? {
    var part = COpenMPI_COMM_NULL()
    let color = computes[rank] ? 0 : Int32(MPI_UNDEFINED)
    try MPIError.check(MPI_Comm_split(handle, color, Int32(rank), &part), in: "MPI_Comm_split", rank: rank)
    guard computes[rank] else { return nil }
    let hosts = hostOfRank.indices.filter { computes[$0] }.map { hostOfRank[$0] }
    return try MPICommunicator(part, hostOfRank: hosts, progressMode)
  }

  /// Collective: blocks until every rank has called it, for minutes or days without using a core (`MPI_Ibarrier`).
  ///
  /// - Throws: `CommunicationError` if communication fails.
  public func waitForAllRanks() throws {
    var request = COpenMPI_REQUEST_NULL()
    try MPIError.check(MPI_Ibarrier(handle, &request), in: "MPI_Ibarrier", rank: rank)
    while true {
      var isComplete: Int32 = 0
      try MPIError.check(MPI_Test(&request, &isComplete, COpenMPI_STATUS_IGNORE()), in: "MPI_Test", rank: rank)
      if isComplete != 0 { return }
      usleep(20_000)
    }
  }

  /// Returns the calling process's rank in a communicator, and the communicator's size.
  static func rankAndSize(in communicator: MPI_Comm?) throws -> (rank: Int, size: Int) {
    var rank: Int32 = 0
    var size: Int32 = 0
    try MPIError.check(MPI_Comm_rank(communicator, &rank), in: "MPI_Comm_rank", rank: nil)
    try MPIError.check(MPI_Comm_size(communicator, &size), in: "MPI_Comm_size", rank: nil)
    return (Int(rank), Int(size))
  }

  /// Returns the largest tag that this MPI allows: `MPI_TAG_UB`, an attribute of `MPI_COMM_WORLD`.
  ///
  /// - Throws: `CommunicationError` if MPI fails. The standard guarantees 32,767, which is returned if MPI does not say.
  static func maximumTag() throws -> Int {
    var value: UnsafeMutablePointer<Int32>?
    var isSet: Int32 = 0
    try MPIError.check(
      MPI_Comm_get_attr(COpenMPI_COMM_WORLD(), Int32(MPI_TAG_UB), &value, &isSet), in: "MPI_Comm_get_attr", rank: nil)
    guard isSet != 0, let value else { return 32_767 }
    return Int(value.pointee)
  }

  /// Collective: returns the local rank on this host, and the number of ranks there.
  static func localRankAndSize(in communicator: MPI_Comm?, rank: Int) throws -> (rank: Int, size: Int) {
    var local = COpenMPI_COMM_NULL()
    try MPIError.check(
      MPI_Comm_split_type(
        communicator, Int32(MPI_COMM_TYPE_SHARED), Int32(rank), COpenMPI_INFO_NULL(), &local),
      in: "MPI_Comm_split_type", rank: rank)
    let rankAndSize = try rankAndSize(in: local)
    try MPIError.check(MPI_Comm_free(&local), in: "MPI_Comm_free", rank: rank)
    return rankAndSize
  }

  /// Returns the name of this host (`MPI_Get_processor_name`).
  static func processorName(rank: Int) throws -> String {
    var characters = [CChar](repeating: 0, count: Int(MPI_MAX_PROCESSOR_NAME) + 1)
    var length: Int32 = 0
    try MPIError.check(
      MPI_Get_processor_name(&characters, &length), in: "MPI_Get_processor_name", rank: rank)
    return String(
      decoding: characters.prefix(Int(length)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  /// Collective: returns the host of every rank.
  ///
  /// The lowest rank of a host identifies the host; hosts are then numbered in that order.
  ///
  /// - Parameters:
  ///   - communicator: All ranks.
  ///   - rank: This rank.
  ///   - size: The number of ranks.
  ///   - emulatedRanksPerHost: The number of consecutive ranks to treat as one host. If `nil`, MPI reports the hosts.
  /// - Returns: Host numbers from 0, in the order of the hosts' lowest ranks.
  /// - Throws: `CommunicationError` if communication fails.
  static func hostOfRank(
    in communicator: MPI_Comm?, rank: Int, size: Int, emulatedRanksPerHost: Int?
  ) throws -> [Int] {
    var local = COpenMPI_COMM_NULL()
    try MPIError.check(
      MPI_Comm_split_type(
        communicator, Int32(MPI_COMM_TYPE_SHARED), Int32(rank), COpenMPI_INFO_NULL(), &local),
      in: "MPI_Comm_split_type", rank: rank)
    var leader = Int32(rank)
    try MPIError.check(
      MPI_Bcast(&leader, 4, COpenMPI_BYTE(), 0, local), in: "MPI_Bcast", rank: rank)
    try MPIError.check(MPI_Comm_free(&local), in: "MPI_Comm_free", rank: rank)
    if let emulatedRanksPerHost { leader = Int32(rank / emulatedRanksPerHost * emulatedRanksPerHost) }
    // Gathered in any case, so that all ranks have the same table even if their environments differ.
    var leaders = [Int32](repeating: 0, count: size)
    try MPIError.check(
      MPI_Allgather(&leader, 4, COpenMPI_BYTE(), &leaders, 4, COpenMPI_BYTE(), communicator),
      in: "MPI_Allgather", rank: rank)
    var numbers: [Int32: Int] = [:]
    return leaders.map { leader in
      let number = numbers[leader] ?? numbers.count
      numbers[leader] = number
      return number
    }
  }
}
