import Datasets
import Testing

/// The positions of steps, compared with literal walks through the epochs.
@Suite struct EpochMappingTests {
  @Test(arguments: [(12, 4), (13, 4), (10, 10), (7, 3), (5, 8)])
  func carriedBatchesHaveNoGap(count: Int, batchSize: Int) {
    let mapping = EpochMapping(count: count, batchSize: batchSize, lastBatch: .carry)
    for step in 1...50 {
      #expect(mapping.firstPosition(step: step) == (step - 1) * batchSize)
      #expect(mapping.epoch(step: step) == (step - 1) * batchSize / count)
    }
    #expect(mapping.stepsPerEpoch == Double(count) / Double(batchSize))
    // The last of these steps reaches the end of the third epoch.
    #expect((mapping.steps(epochs: 3) - 1) * batchSize < 3 * count && mapping.steps(epochs: 3) * batchSize >= 3 * count)
  }

  @Test(arguments: [(12, 4), (13, 4), (10, 10), (7, 3), (50_000, 128)])
  func droppedBatchesStartEveryEpochAtItsBeginning(count: Int, batchSize: Int) {
    let mapping = EpochMapping(count: count, batchSize: batchSize, lastBatch: .drop)
    var step = 1
    for epoch in 0..<5 {
      var position = epoch * count
      while position + batchSize <= (epoch + 1) * count {
        #expect(mapping.firstPosition(step: step) == position)
        #expect(mapping.epoch(step: step) == epoch)
        (position, step) = (position + batchSize, step + 1)
      }
      #expect(mapping.steps(epochs: epoch + 1) == step - 1)
    }
    #expect(mapping.stepsPerEpoch == Double(step - 1) / 5)
  }

  @Test func skippedBatchesComeFirst() {
    let carry = EpochMapping(count: 10, batchSize: 4, lastBatch: .carry, skippedBatches: 1)
    #expect((1...4).map { carry.firstPosition(step: $0) } == [4, 8, 12, 16])
    let drop = EpochMapping(count: 10, batchSize: 4, lastBatch: .drop, skippedBatches: 1)
    #expect((1...4).map { drop.firstPosition(step: $0) } == [4, 10, 14, 20])
  }

  /// Over many epochs, the dropped images are others each time.
  @Test func everyImageIsUsed() {
    let mapping = EpochMapping(count: 103, batchSize: 20, lastBatch: .drop)
    let sampler = Sampler(mode: .epoch, count: 103, seed: 4)
    let indices = UnsafeMutableBufferPointer<Int>.allocate(capacity: 20)
    defer { indices.deallocate() }
    var seen = [Int](repeating: 0, count: 103)
    for epoch in 0..<10 {
      var seenInEpoch = Set<Int>()
      for step in epoch * 5 + 1...epoch * 5 + 5 {
        let first = mapping.firstPosition(step: step)
        sampler.indices(at: first..<first + 20, into: indices)
        for index in indices { seen[index] += 1 }
        seenInEpoch.formUnion(indices)
      }
      #expect(seenInEpoch.count == 100)
    }
    // Each image is dropped in 3 of 103 cases.
    #expect(seen.allSatisfy { $0 >= 8 })
  }
}
