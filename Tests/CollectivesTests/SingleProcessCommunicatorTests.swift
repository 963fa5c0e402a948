import Collectives
import Testing

@Suite struct SingleProcessCommunicatorTests {
  @Test func everyCollectiveIsACopy() {
    let communicator = SingleProcessCommunicator()
    #expect(communicator.rank == 0 && communicator.worldSize == 1)
    communicator.barrier()
    var bytes: [UInt8] = [1, 2, 3]
    bytes.withUnsafeMutableBytes { communicator.broadcast($0, root: 0) }
    #expect(bytes == [1, 2, 3])
    var gathered = [UInt8](repeating: 0, count: 3)
    bytes.withUnsafeBytes { send in
      gathered.withUnsafeMutableBytes { communicator.allGather(send, into: $0, counts: [3]) }
    }
    #expect(gathered == bytes)
    var uniform = [UInt8](repeating: 0, count: 3)
    bytes.withUnsafeBytes { send in uniform.withUnsafeMutableBytes { communicator.allGather(send, into: $0) } }
    #expect(uniform == bytes)
    var exchanged = [UInt8](repeating: 0, count: 3)
    bytes.withUnsafeBytes { send in
      exchanged.withUnsafeMutableBytes {
        communicator.allToAll(send, sendCounts: [3], into: $0, receiveCounts: [3])
      }
    }
    #expect(exchanged == bytes)
  }

  @Test func emptyBuffersAreValid() {
    let communicator = SingleProcessCommunicator()
    let empty = UnsafeMutableRawBufferPointer(start: nil, count: 0)
    communicator.broadcast(empty, root: 0)
    communicator.allGather(UnsafeRawBufferPointer(empty), into: empty, counts: [0])
    communicator.allToAll(
      UnsafeRawBufferPointer(empty), sendCounts: [0], into: empty, receiveCounts: [0])
  }

  @Test func abortEndsTheProcessWithTheCode() async {
    await #expect(processExitsWith: .exitCode(42)) { SingleProcessCommunicator().abort(exitCode: 42) }
  }

  @Test func aWrongCountTraps() async {
    await #expect(processExitsWith: .failure) {
      var receive: [UInt8] = [0, 0]
      receive.withUnsafeMutableBytes {
        SingleProcessCommunicator().allGather(
          UnsafeRawBufferPointer(start: nil, count: 0), into: $0, counts: [2])
      }
    }
  }

  @Test func aRootOutsideTheWorldTraps() async {
    await #expect(processExitsWith: .failure) {
      SingleProcessCommunicator().broadcast(UnsafeMutableRawBufferPointer(start: nil, count: 0), root: 1)
    }
  }
}
