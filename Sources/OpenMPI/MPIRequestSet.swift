import COpenMPI
import Collectives
import Foundation

/// Messages of ``MPICommunicator`` that are on their way at once: `MPI_Isend`, `MPI_Irecv`, `MPI_Testall`.
final class MPIRequestSet: RequestSet {
  private let world: MPICommunicator
  private let table: MPIRequestArray

  /// Allocates room for some messages.
  init(_ world: MPICommunicator, capacity: Int) {
    self.world = world
    table = MPIRequestArray(capacity: capacity)
    world.add(table)
  }

  deinit { world.remove(table) }

  /// Starts to send bytes to another rank (`MPI_Isend`).
  func send(_ bytes: UnsafeRawBufferPointer, to rank: Int, tag: Int) throws {
    precondition(rank != world.rank, "a rank sends no messages to itself")
    try world.locked {
      try MPIError.check(
        MPI_Isend(
          bytes.baseAddress, Int32(bytes.count), COpenMPI_BYTE(), Int32(rank), Int32(tag),
          world.communicator, table.freeSlot), in: "MPI_Isend", rank: world.rank)
      table.count += 1
    }
    world.statistics.countSend(
      byteCount: bytes.count, isToOtherHost: world.hosts[rank] != world.hosts[world.rank])
  }

  /// Starts to receive bytes from another rank (`MPI_Irecv`).
  func receive(into bytes: UnsafeMutableRawBufferPointer, from rank: Int, tag: Int) throws {
    precondition(rank != world.rank, "a rank receives no messages from itself")
    try world.locked {
      try MPIError.check(
        MPI_Irecv(
          bytes.baseAddress, Int32(bytes.count), COpenMPI_BYTE(), Int32(rank), Int32(tag),
          world.communicator, table.freeSlot), in: "MPI_Irecv", rank: world.rank)
      table.count += 1
    }
  }

  /// Tells whether all messages are through (`MPI_Testall`).
  func test() throws -> Bool {
    // Only this thread changes the count.
    guard table.count > 0 else { return true }
    return try world.locked {
      try world.throwRecordedError()
      var isComplete: Int32 = 0
      try MPIError.check(
        MPI_Testall(Int32(table.count), table.requests, &isComplete, COpenMPI_STATUSES_IGNORE()),
        in: "MPI_Testall", rank: world.rank)
      if isComplete != 0 { table.count = 0 }
      return isComplete != 0
    }
  }
}

/// The requests of one group, as MPI wants them.
///
/// An object of its own, so that a progress thread which looks at it never holds a group: the end of a group takes the
/// lock, which that thread has.
final class MPIRequestArray {
  private let capacity: Int
  private let indices: UnsafeMutablePointer<Int32>
  /// The requests; those that are through are null.
  let requests: UnsafeMutablePointer<MPI_Request?>
  /// How many were started since all were last through.
  var count = 0

  init(capacity: Int) {
    self.capacity = capacity
    requests = .allocate(capacity: max(capacity, 1))
    requests.initialize(repeating: COpenMPI_REQUEST_NULL(), count: max(capacity, 1))
    indices = .allocate(capacity: max(capacity, 1))
  }

  deinit {
    requests.deallocate()
    indices.deallocate()
  }

  /// Where the next request goes.
  var freeSlot: UnsafeMutablePointer<MPI_Request?> {
    precondition(count < capacity, "more messages are on their way than the group was made for")
    return requests + count
  }

  /// Moves messages on (`MPI_Testsome`); the caller holds the lock.
  ///
  /// - Returns: MPI's code, and how many got through.
  func progress() -> (code: Int32, completedCount: Int32) {
    guard count > 0 else { return (Int32(MPI_SUCCESS), 0) }
    var completed: Int32 = 0
    let code = MPI_Testsome(
      Int32(count), requests, &completed, indices, COpenMPI_STATUSES_IGNORE())
    return (code, completed)
  }
}

extension MPICommunicator {
  /// Whether messages are moved on while the ranks compute.
  public var overlapsCommunication: Bool { messageProgress != nil }

  /// Moves the messages of all groups on, at most every 100 µs; does nothing where a thread does it.
  public func progress() {
    guard messageProgress == .poll, !tables.isEmpty else { return }
    let now = monotonicNanoseconds()
    guard now &- lastProgress > 100_000 else { return }
    lastProgress = now
    _ = progressGroups()
  }

  /// Starts the thread of ``ProgressMode/thread``.
  func startProgressThread() {
    let thread = Thread { [weak self] in
      while let self, self.drainProgress() { usleep(Self.sleepMicroseconds) }
    }
    thread.name = "wrn-progress"
    thread.start()
  }

  private static var sleepMicroseconds: UInt32 { 100 }

  /// Moves messages on as long as some get through.
  ///
  /// - Returns: False after the end of MPI.
  private func drainProgress() -> Bool {
    while true {
      let isBusy = locked {
        guard !isFinished else { return nil as Bool? }
        return progressGroups()
      }
      guard let isBusy else { return false }
      if !isBusy { return true }
    }
  }

  private func progressGroups() -> Bool {
    var isBusy = false
    for table in tables {
      let (code, completedCount) = table.progress()
      // Kept for the next wait, which throws it.
      if code != MPI_SUCCESS { recordError(code) }
      if completedCount > 0 { isBusy = true }
    }
    return isBusy
  }
}
