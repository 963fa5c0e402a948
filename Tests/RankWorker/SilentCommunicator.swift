import Collectives

/// Rank 1 of a world whose other ranks say nothing but zeros.
///
/// It allocates nothing, so that what is counted is the program's own.
final class SilentCommunicator: Communicator {
  let rank = 1
  let worldSize: Int
  let hosts: [Int]
  let isOversubscribed = false
  let overlapsCommunication = true
  let statistics = CommunicationStatistics()

  /// Makes the world; `ranksPerHost` ranks in a row are on one host.
  init(worldSize: Int, ranksPerHost: Int) {
    self.worldSize = worldSize
    hosts = (0..<worldSize).map { $0 / ranksPerHost }
  }

  func makeRequestSet(capacity: Int) -> any RequestSet { SilentRequestSet() }
  func progress() {}
  func barrier() {}
  func broadcast(_ bytes: UnsafeMutableRawBufferPointer, root: Int) {}
  func allGather(
    _ send: UnsafeRawBufferPointer, into receive: UnsafeMutableRawBufferPointer, counts: [Int]
  ) {}
  func allToAll(
    _ send: UnsafeRawBufferPointer, sendCounts: [Int],
    into receive: UnsafeMutableRawBufferPointer, receiveCounts: [Int]
  ) {}
  func abort(exitCode: Int32) -> Never { fatalError("the silent world was aborted") }
}

/// Messages that are through when asked for the second time.
private final class SilentRequestSet: RequestSet {
  private var wasAsked = false

  func send(_ bytes: UnsafeRawBufferPointer, to rank: Int, tag: Int) { wasAsked = false }
  func receive(into bytes: UnsafeMutableRawBufferPointer, from rank: Int, tag: Int) {
    wasAsked = false
    bytes.initializeMemory(as: UInt8.self, repeating: 0)
  }
  func test() -> Bool {
    defer { wasAsked = true }
    return wasAsked
  }
}
