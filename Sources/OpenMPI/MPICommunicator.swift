import COpenMPI
import Collectives
import Foundation
import Glibc

/// All ranks of an MPI job, or those that compute.
///
/// It uses a duplicate of `MPI_COMM_WORLD`, so that messages cannot match those of another user of MPI in this process.
/// Errors are thrown as `CommunicationError` and do not end the job. The duplicate and its parts live until
/// ``MPIEnvironment/finalize()``.
///
/// One thread calls the methods. With `ProgressMode.thread` a second thread polls for progress. A lock lets one thread
/// at a time call MPI, hence `@unchecked Sendable`.
public final class MPICommunicator: Communicator, @unchecked Sendable {
  /// The number of this process, 0 ..< `worldSize`.
  public let rank: Int
  /// The number of ranks.
  public let worldSize: Int
  /// The number of this rank among the ranks of its host.
  public let localRank: Int
  /// The number of ranks on this host.
  public let localSize: Int
  /// The name of this host in MPI.
  public let processorName: String
  /// The host of every rank; hosts are numbered from 0 in the order of their lowest ranks.
  public let hostOfRank: [Int]
  /// Whether this host has more ranks than cores.
  public let isOversubscribed: Bool
  /// Counters of messages sent and of time spent waiting.
  public let statistics = CommunicationStatistics()

  let handle: MPI_Comm?
  let progressMode: ProgressMode?
  /// The largest tag that this MPI allows (`MPI_TAG_UB`).
  let maximumTag: Int
  // The lock guards these where a progress thread runs.
  private(set) var requestArrays: [MPIRequestArray] = []
  private(set) var isStopped = false
  private var failure: (MPIMessage.Failure, call: StaticString)?
  var lastProgress: UInt64 = 0
  var sendWindow = SendWindow()
  private let mutex: UnsafeMutablePointer<pthread_mutex_t>?
  // Tables of Int32 for MPI, reused so that collectives allocate nothing.
  private let sendTable: MPICounts
  private let receiveTable: MPICounts

  /// Collective: duplicates `MPI_COMM_WORLD`; call it after `MPI_Init_thread`.
  convenience init(_ progressMode: ProgressMode?) throws {
    var communicator = COpenMPI_COMM_WORLD()
    try MPIError.check(
      MPI_Comm_set_errhandler(communicator, COpenMPI_ERRORS_RETURN()), in: "MPI_Comm_set_errhandler",
      rank: nil)
    try MPIError.check(MPI_Comm_dup(communicator, &communicator), in: "MPI_Comm_dup", rank: nil)
    let (rank, worldSize) = try Self.rankAndSize(in: communicator)
    let launch = LaunchEnvironment(ProcessInfo.processInfo.environment)
    let hosts = try Self.hostOfRank(
      in: communicator, rank: rank, size: worldSize, emulatedRanksPerHost: launch.emulatedRanksPerHost)
    try self.init(communicator, hostOfRank: hosts, progressMode)
  }

  /// Collective over the ranks of `communicator`: allocates tables, and starts the progress thread if there is one.
  init(_ communicator: MPI_Comm?, hostOfRank: [Int], _ progressMode: ProgressMode?) throws {
    self.progressMode = progressMode
    self.hostOfRank = hostOfRank
    handle = communicator
    maximumTag = try Self.maximumTag()
    (rank, worldSize) = try Self.rankAndSize(in: communicator)
    (localRank, localSize) = try Self.localRankAndSize(in: communicator, rank: rank)
    processorName = try Self.processorName(rank: rank)
    isOversubscribed = localSize > max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN)))
    if progressMode == .thread {
      let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
      pthread_mutex_init(mutex, nil)
      self.mutex = mutex
    } else {
      mutex = nil
    }
    sendTable = MPICounts(rankCount: worldSize)
    receiveTable = MPICounts(rankCount: worldSize)
    if progressMode == .thread { try startProgressThread() }
  }

  /// Implements `Communicator.makeRequestSet(capacity:)`.
  public func makeRequestSet(capacity: Int) -> any RequestSet {
    MPIRequestSet(self, capacity: capacity)
  }

  /// Calls a collective that blocks, while no other thread is inside MPI.
  private func collective(_ body: () throws -> Void) throws {
    try statistics.activity.waiting { try withLock(body) }
  }

  /// Calls `body` while no other thread is inside MPI.
  func withLock<Value>(_ body: () throws -> Value) rethrows -> Value {
    guard let mutex else { return try body() }
    pthread_mutex_lock(mutex)
    defer { pthread_mutex_unlock(mutex) }
    return try body()
  }

  /// Adds the requests of a set to those that ``progress()`` polls.
  func register(_ requests: MPIRequestArray) { withLock { requestArrays.append(requests) } }

  /// Removes the requests of a set from those that ``progress()`` polls.
  func unregister(_ requests: MPIRequestArray) { withLock { requestArrays.removeAll { $0 === requests } } }

  /// Records the first MPI error found while polling; the next wait throws it.
  func recordError(_ failure: MPIMessage.Failure, in call: StaticString) {
    if self.failure == nil { self.failure = (failure, call) }
  }

  /// Throws the error recorded by ``recordError(_:in:)``, if any.
  func throwRecordedError() throws {
    if let (failure, call) = failure { throw failure.error(in: call, rank: rank) }
  }

  /// Whether another rank is on another host.
  func isOnOtherHost(_ other: Int) -> Bool { hostOfRank[other] != hostOfRank[rank] }

  /// Stops the progress thread, before `MPI_Finalize`.
  func stopProgressThread() { withLock { isStopped = true } }

  /// Implements `Communicator.barrier()`.
  public func barrier() throws {
    try collective { try MPIError.check(MPI_Barrier(handle), in: "MPI_Barrier", rank: rank) }
  }

  /// Implements `Communicator.broadcast(_:root:)` with messages of at most 1 GiB.
  public func broadcast(_ bytes: UnsafeMutableRawBufferPointer, root: Int) throws {
    precondition(root >= 0 && root < worldSize, "the root of a broadcast must be a rank")
    var first = 0
    while first < bytes.count {
      let count = min(bytes.count - first, 1 << 30)
      try collective {
        try MPIError.check(
          MPI_Bcast(
            bytes.baseAddress.map { $0 + first }, Int32(count), COpenMPI_BYTE(), Int32(root),
            handle), in: "MPI_Bcast", rank: rank)
      }
      first += count
    }
  }

  /// Implements `Communicator.allGather(_:into:counts:)`; throws if the sum of the counts exceeds 2^31 − 1.
  public func allGather(
    _ send: UnsafeRawBufferPointer, into receive: UnsafeMutableRawBufferPointer, counts: [Int]
  ) throws {
    checkAllGather(sendByteCount: send.count, receiveByteCount: receive.count, counts: counts)
    try receiveTable.fill(counts, for: "allGather", rank: rank)
    try allGatherV(send, into: receive)
  }

  /// Implements `Communicator.allGather(_:into:)`; throws if the sum of the bytes exceeds 2^31 − 1.
  public func allGather(_ send: UnsafeRawBufferPointer, into receive: UnsafeMutableRawBufferPointer) throws {
    checkAllGather(sendByteCount: send.count, receiveByteCount: receive.count)
    try receiveTable.fill(repeating: send.count, for: "allGather", rank: rank)
    try allGatherV(send, into: receive)
  }

  /// Calls `MPI_Allgatherv` with the counts in `receiveTable`.
  private func allGatherV(_ send: UnsafeRawBufferPointer, into receive: UnsafeMutableRawBufferPointer) throws {
    try collective {
      try MPIError.check(
        MPI_Allgatherv(
          send.baseAddress, Int32(send.count), COpenMPI_BYTE(), receive.baseAddress,
          receiveTable.counts, receiveTable.displacements, COpenMPI_BYTE(), handle),
        in: "MPI_Allgatherv", rank: rank)
    }
  }

  /// Implements `Communicator.allToAll(_:sendCounts:into:receiveCounts:)`; throws if a sum of counts exceeds 2^31 − 1.
  public func allToAll(
    _ send: UnsafeRawBufferPointer, sendCounts: [Int],
    into receive: UnsafeMutableRawBufferPointer, receiveCounts: [Int]
  ) throws {
    checkAllToAll(
      sendByteCount: send.count, sendCounts: sendCounts,
      receiveByteCount: receive.count, receiveCounts: receiveCounts)
    try sendTable.fill(sendCounts, for: "allToAll", rank: rank)
    try receiveTable.fill(receiveCounts, for: "allToAll", rank: rank)
    try collective {
      try MPIError.check(
        MPI_Alltoallv(
          send.baseAddress, sendTable.counts, sendTable.displacements, COpenMPI_BYTE(),
          receive.baseAddress, receiveTable.counts, receiveTable.displacements, COpenMPI_BYTE(),
          handle), in: "MPI_Alltoallv", rank: rank)
    }
  }

  /// Collective: sums the elements of all ranks in an order that Open MPI chooses (`MPI_Allreduce`).
  ///
  /// Only the all-reduce benchmark uses it, as a baseline: the result depends on the number of ranks and on the build of
  /// Open MPI.
  ///
  /// - Parameter elements: This rank's numbers, replaced by the sums; the same count on every rank, at most 2^31 − 1.
  /// - Throws: `CommunicationError` if there are more elements, or communication fails.
  public func allReduceSum(_ elements: UnsafeMutableBufferPointer<Float>) throws {
    guard let count = Int32(exactly: elements.count) else {
      throw CommunicationError(
        "Rank \(rank) would reduce \(elements.count) elements at once, but MPI counts at most \(Int32.max): "
          + "split them into smaller calls.")
    }
    try collective {
      try MPIError.check(
        MPI_Allreduce(
          COpenMPI_IN_PLACE(), elements.baseAddress, count, COpenMPI_FLOAT(),
          COpenMPI_SUM(), handle), in: "MPI_Allreduce", rank: rank)
    }
  }

  /// Implements `Communicator.abort(exitCode:)` with `MPI_Abort`; `mpirun` reports the exit code.
  ///
  /// No other thread is inside MPI, unless it does not leave within two seconds. If `MPI_Abort` hangs, an alarm ends the
  /// process after ten seconds, and `mpirun` then ends the job.
  public func abort(exitCode: Int32) -> Never {
    ExitAlarm.start(seconds: 10, exitCode: exitCode)
    if let mutex {
      var limit = timespec()
      clock_gettime(CLOCK_REALTIME, &limit)
      limit.tv_sec += 2
      pthread_mutex_timedlock(mutex, &limit)
    }
    MPI_Abort(handle, exitCode)
    _exit(exitCode)
  }
}

/// A table of byte counts and displacements as `Int32` for MPI, reused by every collective.
final class MPICounts {
  /// One byte count per rank.
  let counts: UnsafeMutablePointer<Int32>
  /// The offset of each rank's bytes.
  let displacements: UnsafeMutablePointer<Int32>
  private let rankCount: Int

  init(rankCount: Int) {
    self.rankCount = rankCount
    counts = .allocate(capacity: rankCount)
    displacements = .allocate(capacity: rankCount)
    counts.initialize(repeating: 0, count: rankCount)
    displacements.initialize(repeating: 0, count: rankCount)
  }

  deinit {
    counts.deallocate()
    displacements.deallocate()
  }

  /// Converts a table of byte counts.
  ///
  /// - Parameters:
  ///   - byteCounts: One count per rank.
  ///   - collective: The name of the collective, for the error.
  ///   - rank: The calling rank, for the error.
  /// - Throws: `CommunicationError` if the sum exceeds 2^31 − 1, the largest count of MPI 3.
  func fill(_ byteCounts: [Int], for collective: StaticString, rank: Int) throws {
    try fill(for: collective, rank: rank) { byteCounts[$0] }
  }

  /// Fills the table with equal byte counts.
  ///
  /// - Parameters:
  ///   - byteCount: The count of every rank.
  ///   - collective: The name of the collective, for the error.
  ///   - rank: The calling rank, for the error.
  /// - Throws: `CommunicationError` if the sum exceeds 2^31 − 1, the largest count of MPI 3.
  func fill(repeating byteCount: Int, for collective: StaticString, rank: Int) throws {
    try fill(for: collective, rank: rank) { _ in byteCount }
  }

  private func fill(for collective: StaticString, rank: Int, _ byteCount: (Int) -> Int) throws {
    var offset = 0
    for rank in 0..<rankCount {
      let count = byteCount(rank)
      displacements[rank] = Int32(truncatingIfNeeded: offset)
      counts[rank] = Int32(truncatingIfNeeded: count)
      offset += count
    }
    guard offset <= Int(Int32.max) else {
      throw CommunicationError(
        "Rank \(rank) would move \(offset) bytes in one \(collective), but MPI counts at most "
          + "\(Int32.max): split it into smaller calls.")
    }
  }
}
