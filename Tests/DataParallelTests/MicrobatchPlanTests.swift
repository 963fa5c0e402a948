import Collectives
import DataParallel
import Testing

/// Batches that can be divided, and messages for those that cannot.
@Suite struct MicrobatchPlanTests {
  @Test(arguments: [(64, 8), (21, 7), (5, 5), (12, 1)])
  func everyImageBelongsToOneRank(batch: Int, microbatches: Int) throws {
    for worldSize in 1...microbatches {
      var images: [Int] = []
      for rank in 0..<worldSize {
        let plan = try MicrobatchPlan(
          globalBatchSize: batch, microbatchCount: microbatches, rank: rank, worldSize: worldSize)
        #expect(plan.imagesPerMicrobatch == batch / microbatches)
        #expect(plan.localImages.count == plan.localBatchSize && plan.localBatchSize > 0)
        images += plan.localImages
      }
      #expect(images == Array(0..<batch))
    }
  }

  @Test(arguments: [(63, 8, "use --microbatches 7."), (0, 8, "--batch-size 0"), (64, 0, "--microbatches 0")])
  func invalidBatchesThrow(batch: Int, microbatches: Int, words: String) {
    let error = #expect(throws: MicrobatchPlan.InvalidPlan.self) {
      try MicrobatchPlan(globalBatchSize: batch, microbatchCount: microbatches, rank: 0, worldSize: 1)
    }
    #expect(error?.description.contains(words) == true)
  }

  @Test func moreRanksThanMicrobatchesThrow() {
    #expect(throws: WorldSizeError.self) {
      try MicrobatchPlan(globalBatchSize: 64, microbatchCount: 8, rank: 0, worldSize: 9)
    }
  }
}
