import COpenMPI
import Collectives
import Foundation
import Glibc

/// All ranks of an MPI job.
///
/// Works on a duplicate of `MPI_COMM_WORLD`, so that no other user of MPI in this process can mix
/// its messages with ours. Errors come back as ``CommunicationError`` instead of ending the job.
/// The duplicate lives until ``MPIEnvironment/finalize()``.
///
/// One thread calls its methods. With ``ProgressMode/thread`` a second one moves messages on; a
/// lock lets one of them at a time into MPI, hence `@unchecked Sendable`.
public final class MPICommunicator: Communicator, @unchecked Sendable {
  /// This process's number, 0 ..< `worldSize`.
  public let rank: Int
  /// The number of ranks.
  public let worldSize: Int
  /// This rank's number among the ranks of its host.
  public let localRank: Int
  /// The number of ranks on this host.
  public let localSize: Int
  /// The host's name, as MPI knows it.
  public let processorName: String
  /// The host of every rank, as numbers from 0 in the order of their first ranks.
  public let hosts: [Int]
  /// Whether more ranks run on this host than it has cores.
  public let isOversubscribed: Bool
  /// What has been sent and waited for so far.
  public let statistics = CommunicationStatistics()

  let communicator: MPI_Comm?
  let messageProgress: ProgressMode?
  // All guarded by the lock where a progress thread runs.
  private(set) var tables: [MPIRequestArray] = []
  private(set) var isFinished = false
  private var failure: Int32?
  var lastProgress: UInt64 = 0
  private let mutex: UnsafeMutablePointer<pthread_mutex_t>?
  // Scratch tables of Int32, which MPI wants; kept so that an exchange allocates nothing.
  private let sendTable: MPICounts
  private let receiveTable: MPICounts

  /// Duplicates the world; collective, after `MPI_Init_thread`.
  init(_ messageProgress: ProgressMode?) throws {
    self.messageProgress = messageProgress
    var world = COpenMPI_COMM_WORLD()
    try MPIError.check(
      MPI_Comm_set_errhandler(world, COpenMPI_ERRORS_RETURN()), in: "MPI_Comm_set_errhandler",
      rank: nil)
    try MPIError.check(MPI_Comm_dup(world, &world), in: "MPI_Comm_dup", rank: nil)
    communicator = world
    (rank, worldSize) = try Self.place(in: world)
    (localRank, localSize) = try Self.localPlace(in: world, rank: rank)
    processorName = try Self.processorName(rank: rank)
    let launch = LaunchEnvironment(ProcessInfo.processInfo.environment)
    hosts = try Self.hosts(
      in: world, rank: rank, size: worldSize, pretendedCount: launch.emulatedRanksPerHost)
    isOversubscribed = localSize > max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN)))
    if messageProgress == .thread {
      let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
      pthread_mutex_init(mutex, nil)
      self.mutex = mutex
    } else {
      mutex = nil
    }
    sendTable = MPICounts(rankCount: worldSize)
    receiveTable = MPICounts(rankCount: worldSize)
    if messageProgress == .thread { startProgressThread() }
  }

  /// Makes a group with room for some messages; does not communicate.
  ///
  /// - Parameter capacity: The most messages that are on their way in this group at once.
  /// - Returns: An empty group.
  public func makeRequestSet(capacity: Int) -> any RequestSet {
    MPIRequestSet(self, capacity: capacity)
  }

  /// Runs calls of MPI; no other thread is in MPI meanwhile.
  func locked<Value>(_ body: () throws -> Value) rethrows -> Value {
    guard let mutex else { return try body() }
    pthread_mutex_lock(mutex)
    defer { pthread_mutex_unlock(mutex) }
    return try body()
  }

  /// Lets the progress of a group begin.
  func add(_ table: MPIRequestArray) { locked { tables.append(table) } }

  /// Ends the progress of a group.
  func remove(_ table: MPIRequestArray) { locked { tables.removeAll { $0 === table } } }

  /// Keeps MPI's first error that was met while nobody waited; the next wait throws it.
  func recordError(_ code: Int32) { failure = failure ?? code }

  /// Throws what ``recordError(_:)`` kept.
  func throwRecordedError() throws {
    if let failure { try MPIError.check(failure, in: "MPI_Testsome", rank: rank) }
  }

  /// Ends the progress thread, before MPI ends.
  func finish() { locked { isFinished = true } }

  /// Returns when every rank has called it (`MPI_Barrier`).
  ///
  /// - Throws: ``CommunicationError`` if the exchange fails.
  public func barrier() throws {
    try locked { try MPIError.check(MPI_Barrier(communicator), in: "MPI_Barrier", rank: rank) }
  }

  /// Copies `root`'s bytes to every rank (`MPI_Bcast`, in pieces of at most 1 GiB).
  ///
  /// - Parameters:
  ///   - bytes: Sent at the root, overwritten elsewhere; the same length on every rank.
  ///   - root: The sending rank.
  /// - Throws: ``CommunicationError`` if the exchange fails.
  public func broadcast(_ bytes: UnsafeMutableRawBufferPointer, root: Int) throws {
    precondition(root >= 0 && root < worldSize, "the root of a broadcast must be a rank")
    var first = 0
    while first < bytes.count {
      let count = min(bytes.count - first, 1 << 30)
      try locked {
        try MPIError.check(
          MPI_Bcast(
            bytes.baseAddress.map { $0 + first }, Int32(count), COpenMPI_BYTE(), Int32(root),
            communicator), in: "MPI_Bcast", rank: rank)
      }
      first += count
    }
  }

  /// Gives every rank the bytes of all ranks, one rank's after another's (`MPI_Allgatherv`).
  ///
  /// - Parameters:
  ///   - send: This rank's bytes; `send.count == counts[rank]`.
  ///   - receive: Room for exactly the sum of `counts`; does not overlap `send`.
  ///   - counts: Every rank's byte count, the same table on every rank.
  /// - Throws: ``CommunicationError`` if the exchange fails or exceeds 2^31 − 1 bytes.
  public func allGather(
    _ send: UnsafeRawBufferPointer, into receive: UnsafeMutableRawBufferPointer, counts: [Int]
  ) throws {
    checkAllGather(sendByteCount: send.count, receiveByteCount: receive.count, counts: counts)
    try receiveTable.fill(counts, for: "allGather", rank: rank)
    try locked {
      try MPIError.check(
        MPI_Allgatherv(
          send.baseAddress, Int32(send.count), COpenMPI_BYTE(), receive.baseAddress,
          receiveTable.counts, receiveTable.offsets, COpenMPI_BYTE(), communicator),
        in: "MPI_Allgatherv", rank: rank)
    }
  }

  /// Sends a piece of `send` to every rank and receives one from every rank (`MPI_Alltoallv`).
  ///
  /// - Parameters:
  ///   - send: The pieces for ranks 0, 1, …, one after another.
  ///   - sendCounts: Their byte counts.
  ///   - receive: Room for the pieces from ranks 0, 1, …, one after another; does not overlap
  ///     `send`.
  ///   - receiveCounts: Their byte counts; what `sendCounts` says at the sender.
  /// - Throws: ``CommunicationError`` if the exchange fails or exceeds 2^31 − 1 bytes a rank.
  public func allToAll(
    _ send: UnsafeRawBufferPointer, sendCounts: [Int],
    into receive: UnsafeMutableRawBufferPointer, receiveCounts: [Int]
  ) throws {
    checkAllToAll(
      sendByteCount: send.count, sendCounts: sendCounts,
      receiveByteCount: receive.count, receiveCounts: receiveCounts)
    try sendTable.fill(sendCounts, for: "allToAll", rank: rank)
    try receiveTable.fill(receiveCounts, for: "allToAll", rank: rank)
    try locked {
      try MPIError.check(
        MPI_Alltoallv(
          send.baseAddress, sendTable.counts, sendTable.offsets, COpenMPI_BYTE(),
          receive.baseAddress, receiveTable.counts, receiveTable.offsets, COpenMPI_BYTE(),
          communicator), in: "MPI_Alltoallv", rank: rank)
    }
  }

  /// Ends the whole job at once with an exit code (`MPI_Abort`), without waiting for anyone.
  ///
  /// - Parameter exitCode: What `mpirun` reports, 1 … 255.
  public func abort(exitCode: Int32) -> Never {
    MPI_Abort(communicator, exitCode)
    _exit(exitCode)
  }
}

/// A table of byte counts and offsets in the form MPI wants, kept and refilled for every exchange.
final class MPICounts {
  /// One byte count a rank.
  let counts: UnsafeMutablePointer<Int32>
  /// Where each rank's bytes begin.
  let offsets: UnsafeMutablePointer<Int32>
  private let rankCount: Int

  init(rankCount: Int) {
    self.rankCount = rankCount
    counts = .allocate(capacity: rankCount)
    offsets = .allocate(capacity: rankCount)
    counts.initialize(repeating: 0, count: rankCount)
    offsets.initialize(repeating: 0, count: rankCount)
  }

  deinit {
    counts.deallocate()
    offsets.deallocate()
  }

  /// Converts a table of byte counts.
  ///
  /// - Parameters:
  ///   - byteCounts: One count a rank.
  ///   - exchange: The exchange's name, for the error.
  ///   - rank: The calling rank, for the error.
  /// - Throws: ``CommunicationError`` if the sum exceeds 2^31 − 1, which MPI 3 cannot count.
  func fill(_ byteCounts: [Int], for exchange: StaticString, rank: Int) throws {
    var offset = 0
    for rank in 0..<rankCount {
      offsets[rank] = Int32(truncatingIfNeeded: offset)
      counts[rank] = Int32(truncatingIfNeeded: byteCounts[rank])
      offset += byteCounts[rank]
    }
    guard offset <= Int(Int32.max) else {
      throw CommunicationError(
        "Rank \(rank) would move \(offset) bytes in one \(exchange), but MPI counts at most "
          + "\(Int32.max): exchange in smaller pieces.")
    }
  }
}

extension MPICommunicator {
  /// Adds up the elements of all ranks in an order that Open MPI chooses (`MPI_Allreduce`).
  ///
  /// For the benchmark that the exchange of gradients is measured against, and for nothing else: the sums depend on the
  /// number of ranks and on how Open MPI was built. Every rank calls it.
  ///
  /// - Parameter elements: This rank's numbers, replaced by the sums; the same count on every rank, at most 2^31 − 1.
  /// - Throws: ``CommunicationError`` if the exchange fails.
  public func allReduceSum(_ elements: UnsafeMutableBufferPointer<Float>) throws {
    try locked {
      try MPIError.check(
        MPI_Allreduce(
          COpenMPI_IN_PLACE(), elements.baseAddress, Int32(elements.count), COpenMPI_FLOAT(),
          COpenMPI_SUM(),
          communicator), in: "MPI_Allreduce", rank: rank)
    }
  }
}
