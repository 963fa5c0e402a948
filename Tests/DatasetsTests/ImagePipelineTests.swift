import Datasets
import Tensors
import Testing

/// Normalization, resolution and views, element by element.
@Suite struct ImagePipelineTests {
  private typealias Naive = NaiveImages

  @Test func everyByteIsNormalized() {
    // Every byte in every channel.
    let planes = (0..<3072).map { UInt8($0 % 256) }
    let sets: [(PixelNormalization, [Double], [Double])] = [
      (.cifar10, [125.3, 123.0, 113.9], [63.0, 62.1, 66.7]), (.cifar100, [129.3, 124.1, 112.4], [68.2, 65.4, 70.4]),
    ]
    for (normalization, mean, std) in sets {
      let expected = Naive.normalize(planes) { c, byte in Float((Double(byte) - mean[c]) / std[c]) }
      #expect(Naive.tested(ImagePipeline(normalization: normalization), planes) == Naive.flatten(expected))
      #expect(normalization.mode == .meanStd)
    }
    let raw = Naive.normalize(planes) { _, byte in Float(byte) }
    #expect(Naive.tested(ImagePipeline(), planes) == Naive.flatten(raw))
    #expect(NormalizationMode.allCases.map(\.rawValue) == ["none", "mean-std", "zca"])
  }

  @Test(arguments: [1, 2, 7, 8, 12, 16, 20, 24, 28, 31, 32])
  func resizingIsTheMeanOverAreas(size: Int) {
    let pipeline = ImagePipeline(normalization: .cifar10)
    for sample in 0..<3 {
      let planes = Naive.planes(sample)
      let full = Naive.tested(pipeline, planes)
      let image = (0..<32).map { y in (0..<32).map { x in Array(full[(32 * y + x) * 3..<(32 * y + x) * 3 + 3]) } }
      let expected = Naive.flatten(Naive.areaMean(image, size: size))
      let resized = Naive.tested(pipeline, planes, size: size)
      // At most 32 + 32 additions of values below 2.3.
      for i in expected.indices { #expect(abs(Double(resized[i]) - expected[i]) < 2e-6) }
      #expect(Naive.prepared(pipeline, planes, epoch: 0, sample: sample, size: size) == resized)
    }
  }

  @Test func sixteenPixelsAreMeansOfFour() {
    let planes = Naive.planes(4)
    let image = Naive.normalize(planes) { _, byte in Float(byte) }
    let resized = Naive.tested(ImagePipeline(), planes, size: 16)
    for y in 0..<16 {
      for x in 0..<16 {
        for c in 0..<3 {
          // Sums of four bytes are exact.
          let upper = image[2 * y][2 * x][c] + image[2 * y][2 * x + 1][c]
          let lower = image[2 * y + 1][2 * x][c] + image[2 * y + 1][2 * x + 1][c]
          #expect(resized[(16 * y + x) * 3 + c] == (upper + lower) / 4)
        }
      }
    }
  }

  @Test(arguments: [8, 16, 20, 24, 28, 31, 32])
  func croppingTakesRandomWindowsForTraining(size: Int) {
    let pipeline = ImagePipeline(resolutionMode: .crop, seed: 9)
    var positions = Set<Int>()
    for sample in 0..<300 {
      let planes = Naive.planes(sample)
      let image = Naive.normalize(planes) { _, byte in Float(byte) }
      let stream = RandomStream(seed: 9, purpose: "resolution crop", step: 6)
      let row = stream.integer(UInt64(2 * sample), below: 33 - size)
      let column = stream.integer(UInt64(2 * sample + 1), below: 33 - size)
      #expect(
        Naive.prepared(pipeline, planes, epoch: 6, sample: sample, size: size)
          == Naive.flatten(Naive.window(image, row: row, column: column, size: size)))
      positions.formUnion([row, column])
      let margin = (32 - size) / 2
      #expect(
        Naive.tested(pipeline, planes, size: size)
          == Naive.flatten(Naive.window(image, row: margin, column: margin, size: size)))
    }
    #expect(positions == Set(0...32 - size))
  }

  /// Reducing the resolution is the last step, after the augmentation at 32 pixels.
  @Test(arguments: ResolutionMode.allCases, [16, 20, 28])
  func resolutionFollowsAugmentation(mode: ResolutionMode, size: Int) {
    let augmentation = Augmentation(cropPadding: 4, cropBorder: .zero, flip: .random, cutout: 12)
    let full = ImagePipeline(normalization: .cifar10, augmentation: augmentation, seed: 2)
    let pipeline = ImagePipeline(
      normalization: .cifar10, augmentation: augmentation, resolutionMode: mode, seed: 2)
    for sample in 0..<100 {
      let planes = Naive.planes(sample)
      let values = Naive.prepared(full, planes, epoch: 1, sample: sample)
      let image = (0..<32).map { y in (0..<32).map { x in Array(values[(32 * y + x) * 3..<(32 * y + x) * 3 + 3]) } }
      let reduced = Naive.prepared(pipeline, planes, epoch: 1, sample: sample, size: size)
      switch mode {
      case .resize:
        let expected = Naive.flatten(Naive.areaMean(image, size: size))
        for i in expected.indices { #expect(abs(Double(reduced[i]) - expected[i]) < 2e-6) }
      case .crop:
        let stream = RandomStream(seed: 2, purpose: "resolution crop", step: 1)
        #expect(
          reduced
            == Naive.flatten(
              Naive.window(
                image, row: stream.integer(UInt64(2 * sample), below: 33 - size),
                column: stream.integer(UInt64(2 * sample + 1), below: 33 - size), size: size)))
      }
    }
  }

  @Test func viewsOfTestImages() {
    let planes = Naive.planes(8)
    let image = Naive.normalize(planes) { _, byte in Float(byte) }
    for (isMirrored, row, column) in [(true, 0, 0), (false, 1, -1), (true, -2, 3), (false, 31, -31)] {
      let view = ImageView(isMirrored: isMirrored, rowShift: row, columnShift: column)
      let padded = Naive.pad(isMirrored ? Naive.mirror(image) : image, 31, .reflect)
      #expect(
        Naive.tested(ImagePipeline(), planes, view: view)
          == Naive.flatten(Naive.window(padded, row: 31 + row, column: 31 + column, size: 32)))
    }
    // Augmentation concerns training images only.
    let augmented = ImagePipeline(augmentation: Augmentation(cropPadding: 4, flip: .random, cutout: 8))
    #expect(Naive.tested(augmented, planes) == Naive.flatten(image))
  }
}
