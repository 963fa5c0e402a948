import AllocationCounter
import Datasets

extension RankWorker {
  /// Prints the number of heap allocations of loading and preparing images after warm-up, for both resolution modes.
  ///
  /// - Throws: Errors of the loader.
  static func countLoadingAllocations() throws {
    let split = SyntheticDataset.dataset(.cifar100).training
    let augmentation = Augmentation(cropPadding: 4, flip: .alternating, cutout: 8)
    for mode in ResolutionMode.allCases {
      let pipeline = ImagePipeline(
        normalization: .cifar100, augmentation: augmentation, resolutionMode: mode, seed: 1)
      let loader = try BatchLoader(
        split: split, sampler: Sampler(mode: .epoch, count: split.count, seed: 1), pipeline: pipeline,
        localRange: 0..<16, firstStep: 1, imageSize: { $0.isMultiple(of: 2) ? 20 : 32 },
        firstPosition: { ($0 - 1) * 16 })
      for _ in 0..<10 { _ = try loader.next() }
      let count = try AllocationCounter.count {
        for _ in 0..<50 { _ = try loader.next() }
      }
      line("\(mode) \(count)")
      loader.stop()
    }
  }
}
