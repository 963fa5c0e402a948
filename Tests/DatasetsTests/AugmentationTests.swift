import Datasets
import Tensors
import Testing

/// Flips, crops and cutouts, element by element, with the random numbers of their documented streams.
@Suite struct AugmentationTests {
  private typealias Naive = NaiveImages

  private static func raw(_ channel: Int, byte: UInt8) -> Float { Float(byte) }

  private func stream(_ purpose: String, _ epoch: Int) -> RandomStream {
    RandomStream(seed: 5, purpose: purpose, step: UInt64(epoch))
  }

  private func pipeline(_ augmentation: Augmentation) -> ImagePipeline {
    ImagePipeline(augmentation: augmentation, seed: 5)
  }

  @Test func nothingChangesByDefault() {
    for sample in 0..<20 {
      let planes = Naive.planes(sample)
      #expect(
        Naive.prepared(pipeline(Augmentation()), planes, epoch: 3, sample: sample)
          == Naive.flatten(Naive.normalize(planes, Self.raw)))
    }
  }

  @Test(arguments: [1, 2, 4, 31], CropBorder.allCases)
  func cropsAreWindowsOfThePaddedImage(padding: Int, border: CropBorder) {
    let pipeline = pipeline(Augmentation(cropPadding: padding, cropBorder: border))
    var offsets = Set<Int>()
    for sample in 0..<200 {
      let (planes, epoch) = (Naive.planes(sample), sample % 7)
      let stream = stream("crop", epoch)
      let row = stream.integer(UInt64(2 * sample), below: 2 * padding + 1)
      let column = stream.integer(UInt64(2 * sample + 1), below: 2 * padding + 1)
      let padded = Naive.pad(Naive.normalize(planes, Self.raw), padding, border)
      #expect(
        Naive.prepared(pipeline, planes, epoch: epoch, sample: sample)
          == Naive.flatten(Naive.window(padded, row: row, column: column, size: 32)), "sample \(sample)")
      offsets.formUnion([row, column])
    }
    // All offsets occur, the outermost too.
    if padding <= 4 { #expect(offsets == Set(0...2 * padding)) }
  }

  @Test func randomFlipsAreDrawnAnewEveryEpoch() {
    let pipeline = pipeline(Augmentation(flip: .random))
    var flips = Set<[Bool]>()
    for epoch in 0..<4 {
      var pattern: [Bool] = []
      for sample in 0..<200 {
        let planes = Naive.planes(sample)
        let image = Naive.normalize(planes, Self.raw)
        let isFlipped = stream("flip", epoch).integer(UInt64(sample), below: 2) == 1
        #expect(
          Naive.prepared(pipeline, planes, epoch: epoch, sample: sample)
            == Naive.flatten(isFlipped ? Naive.mirror(image) : image))
        pattern.append(isFlipped)
      }
      // 100 of 200 are expected; four standard deviations are 28.
      #expect((72...128).contains(pattern.count { $0 }))
      flips.insert(pattern)
    }
    #expect(flips.count == 4)
  }

  @Test func alternatingFlipsShowBothMirrorImages() {
    let pipeline = pipeline(Augmentation(flip: .alternating))
    var flippedCount = 0
    for sample in 0..<100 {
      let planes = Naive.planes(sample)
      let image = Naive.normalize(planes, Self.raw)
      let isFlipped = stream("flip", 0).integer(UInt64(sample), below: 2) == 1
      flippedCount += isFlipped ? 1 : 0
      for epoch in 0..<5 {
        let isFlippedNow = epoch.isMultiple(of: 2) ? isFlipped : !isFlipped
        #expect(
          Naive.prepared(pipeline, planes, epoch: epoch, sample: sample)
            == Naive.flatten(isFlippedNow ? Naive.mirror(image) : image))
      }
    }
    #expect((30...70).contains(flippedCount))
  }

  @Test(arguments: [1, 8, 31, 32])
  func cutoutsLieInsideTheImage(side: Int) {
    let pipeline = pipeline(Augmentation(cutout: side))
    var positions = Set<Int>()
    for sample in 0..<200 {
      let planes = Naive.planes(sample)
      let stream = stream("cutout", 2)
      let row = stream.integer(UInt64(2 * sample), below: 33 - side)
      let column = stream.integer(UInt64(2 * sample + 1), below: 33 - side)
      let image = Naive.normalize(planes, Self.raw)
      #expect(
        Naive.prepared(pipeline, planes, epoch: 2, sample: sample)
          == Naive.flatten(Naive.cutOut(image, row: row, column: column, side: side)))
      positions.formUnion([row, column])
    }
    #expect(positions == Set(0...32 - side))
  }

  /// The order: normalize, flip, pad and crop, cutout; zeros are the mean color.
  @Test(arguments: CropBorder.allCases)
  func allTogetherInOrder(border: CropBorder) {
    let augmentation = Augmentation(cropPadding: 4, cropBorder: border, flip: .random, cutout: 8)
    let pipeline = ImagePipeline(normalization: .cifar10, augmentation: augmentation, seed: 5)
    for sample in 0..<200 {
      let (planes, epoch) = (Naive.planes(sample), sample / 10)
      let (mean, std) = ([125.3, 123.0, 113.9], [63.0, 62.1, 66.7])
      var image = Naive.normalize(planes) { c, byte in Float((Double(byte) - mean[c]) / std[c]) }
      if stream("flip", epoch).integer(UInt64(sample), below: 2) == 1 { image = Naive.mirror(image) }
      let (crop, cutout) = (stream("crop", epoch), stream("cutout", epoch))
      image = Naive.window(
        Naive.pad(image, 4, border), row: crop.integer(UInt64(2 * sample), below: 9),
        column: crop.integer(UInt64(2 * sample + 1), below: 9), size: 32)
      image = Naive.cutOut(
        image, row: cutout.integer(UInt64(2 * sample), below: 25),
        column: cutout.integer(UInt64(2 * sample + 1), below: 25), side: 8)
      #expect(Naive.prepared(pipeline, planes, epoch: epoch, sample: sample) == Naive.flatten(image))
    }
  }

  /// If one of these changes, so do all augmented runs: rows and columns of the crop and the cutout, and flips.
  @Test func randomNumbersArePinned() {
    let crops = (0..<8).map { stream("crop", 3).integer($0, below: 9) }
    let cutouts = (0..<8).map { stream("cutout", 3).integer($0, below: 25) }
    let flips = (0..<16).map { stream("flip", 3).integer($0, below: 2) }
    #expect(crops == [2, 0, 2, 3, 8, 0, 6, 8])
    #expect(cutouts == [21, 23, 13, 17, 4, 16, 14, 24])
    #expect(flips == [1, 1, 0, 0, 1, 0, 1, 0, 0, 0, 1, 0, 0, 1, 0, 1])
  }
}
