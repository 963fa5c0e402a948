import Collectives

/// Rank 1 of a world whose other ranks send only zeros.
///
/// It allocates nothing, so that all counted allocations are the program's.
final class SilentCommunicator: Communicator {
  let rank = 1
  let worldSize: Int
  let hostOfRank: [Int]
  let isOversubscribed = false
  let overlapsCommunication = true
  let statistics = CommunicationStatistics()

  /// Creates the world; each `ranksPerHost` consecutive ranks are on one host.
  init(worldSize: Int, ranksPerHost: Int) {
    self.worldSize = worldSize
    hostOfRank = (0..<worldSize).map { $0 / ranksPerHost }
  }

  func makeRequestSet(capacity: Int) -> any RequestSet { SilentRequestSet() }
  func progress() {}
  func barrier() {}
  func broadcast(_ bytes: UnsafeMutableRawBufferPointer, root: Int) {}
  func allGather(
    _ send: UnsafeRawBufferPointer, into receive: UnsafeMutableRawBufferPointer, counts: [Int]
  ) {}
  func allGather(_ send: UnsafeRawBufferPointer, into receive: UnsafeMutableRawBufferPointer) {}
  func allToAll(
    _ send: UnsafeRawBufferPointer, sendCounts: [Int],
    into receive: UnsafeMutableRawBufferPointer, receiveCounts: [Int]
  ) {}
  func abort(exitCode: Int32) -> Never { fatalError("the silent communicator was aborted") }
}

/// Requests that are complete at the second test.
private final class SilentRequestSet: RequestSet {
  private var wasTested = false

  func send(_ bytes: UnsafeRawBufferPointer, to rank: Int, tag: Int, priority: SendPriority) { wasTested = false }
  func receive(into bytes: UnsafeMutableRawBufferPointer, from rank: Int, tag: Int, priority: SendPriority) {
    wasTested = false
    bytes.initializeMemory(as: UInt8.self, repeating: 0)
  }
  func test() -> Bool {
    defer { wasTested = true }
    return wasTested
  }
}
