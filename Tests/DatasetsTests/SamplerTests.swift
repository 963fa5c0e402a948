import Datasets
import Tensors
import Testing

/// The orders of training images, compared with literal simulations of their definitions.
@Suite struct SamplerTests {
  private func take(_ sampler: Sampler, _ positions: Range<Int>) -> [Int] {
    let indices = UnsafeMutableBufferPointer<Int>.allocate(capacity: positions.count)
    defer { indices.deallocate() }
    sampler.indices(at: positions, into: indices)
    return Array(indices)
  }

  private func makeSampler(_ mode: ShuffleMode, _ count: Int, seed: UInt64 = 0) -> Sampler {
    Sampler(mode: mode, count: count, seed: seed)
  }

  /// Trax's pipeline, step by step: a repeated fixed order, and a queue of 1,024 slots of which a random one is replaced.
  private func simulatedQueue(_ count: Int, seed: UInt64, through end: Int) -> [Int] {
    let permutation = take(makeSampler(.epoch, count, seed: seed), 0..<count)
    let slots = RandomStream(seed: seed, purpose: "shuffle queue")
    var queue = (0..<1024).map { permutation[$0 % count] }
    return (0..<end).map { t in
      let slot = slots.integer(UInt64(t), below: 1024)
      defer { queue[slot] = permutation[(t + 1024) % count] }
      return queue[slot]
    }
  }

  @Test(arguments: [1, 64, 1000, 1024, 5000])
  func theQueueMatchesTrax(count: Int) {
    let end = 12_000
    let simulated = simulatedQueue(count, seed: 3, through: end)
    let sampler = makeSampler(.queue, count, seed: 3)
    var position = 0
    while position < end {
      let next = min(position + 64, end)
      #expect(take(sampler, position..<next) == Array(simulated[position..<next]))
      position = next
    }
    // Jumps of a new sampler, and a rank that reads only its part of every batch.
    for start in [0, 1, 63, 1023, 1024, 1025, 4097, 11_900] {
      #expect(take(makeSampler(.queue, count, seed: 3), start..<start + 50) == Array(simulated[start..<start + 50]))
    }
    let rank = makeSampler(.queue, count, seed: 3)
    for batch in 0..<100 {
      let range = batch * 64 + 16..<batch * 64 + 32
      #expect(take(rank, range) == Array(simulated[range]))
    }
  }

  @Test func theQueueEmitsEveryImage() {
    let counts = take(makeSampler(.queue, 3000), 0..<30_000).reduce(into: [Int](repeating: 0, count: 3000)) {
      $0[$1] += 1
    }
    // Ten rounds went in. An image waits in its slot for a random time, so counts differ from ten by a few.
    #expect(counts.allSatisfy { (7...13).contains($0) })
  }

  @Test(arguments: [1, 10, 1000])
  func everyEpochHasItsOwnPermutation(count: Int) {
    let sampler = makeSampler(.epoch, count)
    let epochs = (0..<4).map { take(sampler, $0 * count..<($0 + 1) * count) }
    for epoch in epochs { #expect(epoch.sorted() == Array(0..<count)) }
    if count > 1 { #expect(Set(epochs).count == 4) }
    let across = count / 2..<count + count / 2
    #expect(take(makeSampler(.epoch, count), across) == Array((epochs[0] + epochs[1])[across]))
  }

  @Test func noShufflingKeepsTheOrderOfTheFiles() {
    #expect(take(makeSampler(.none, 5), 3..<14) == [3, 4, 0, 1, 2, 3, 4, 0, 1, 2, 3])
  }

  @Test func theOrderDependsOnTheSeed() {
    for mode in [ShuffleMode.queue, .epoch] {
      #expect(take(makeSampler(mode, 2000, seed: 1), 0..<100) != take(makeSampler(mode, 2000, seed: 2), 0..<100))
    }
  }
}
