import Tensors

/// The way of an image from its record to a model's input: normalize, augment, reduce the resolution.
///
/// A value without state: the result is a pure function of the image, the pipeline, epoch, sample and size, bitwise
/// identical on every CPU. Nothing is allocated per image. At 32 pixels an image takes about 1 µs.
public struct ImagePipeline: Sendable {
  /// The sizes that a pipeline can produce, in pixels per side.
  public static let imageSizes = 1...ImageDataset.imageSize

  /// The map from raw pixels to the model's input.
  public let normalization: PixelNormalization
  /// The random changes to training images.
  public let augmentation: Augmentation
  /// The way to images of fewer than 32 pixels per side.
  public let resolutionMode: ResolutionMode
  private let seed: UInt64
  private let lookupTable: [Float]

  /// Creates a pipeline; the default passes raw values on.
  ///
  /// - Parameters:
  ///   - normalization: The map from raw pixels to the model's input.
  ///   - augmentation: The random changes to training images.
  ///   - resolutionMode: The way to images of fewer than 32 pixels per side.
  ///   - seed: The seed of the run, for all random changes.
  public init(
    normalization: PixelNormalization = .none, augmentation: Augmentation = Augmentation(),
    resolutionMode: ResolutionMode = .resize, seed: UInt64 = 0
  ) {
    self.normalization = normalization
    self.augmentation = augmentation
    self.resolutionMode = resolutionMode
    self.seed = seed
    lookupTable = normalization.lookupTable()
  }

  /// Reads a training image and prepares it.
  ///
  /// - Parameters:
  ///   - split: The training set.
  ///   - index: The index of the image in the split; also its sample number.
  ///   - epoch: The pass over the training set, from 0.
  ///   - size: The rows and columns of the result, in ``imageSizes``.
  ///   - output: The destination, `HWC`, `size`·`size`·3 values.
  /// - Returns: The label.
  /// - Throws: ``DatasetError`` if the label is invalid.
  public func readTraining(
    _ split: ImageDataset.Split, at index: Int, epoch: Int, size: Int = 32,
    into output: UnsafeMutablePointer<Float>
  ) throws -> UInt8 {
    try split.withImage(at: index) { label, image in
      prepareTraining(image, epoch: epoch, sample: index, size: size, into: output)
      return label
    }
  }

  /// Reads a test image and prepares it.
  ///
  /// - Parameters:
  ///   - split: The images.
  ///   - index: The index of the image in the split.
  ///   - size: The rows and columns of the result, in ``imageSizes``.
  ///   - view: The mirror image or shift to show, for averages over several views.
  ///   - output: The destination, `HWC`, `size`·`size`·3 values.
  /// - Returns: The label.
  /// - Throws: ``DatasetError`` if the label is invalid.
  public func readTest(
    _ split: ImageDataset.Split, at index: Int, size: Int = 32, view: ImageView = ImageView(),
    into output: UnsafeMutablePointer<Float>
  ) throws -> UInt8 {
    try split.withImage(at: index) { label, image in
      prepareTest(image, size: size, view: view, into: output)
      return label
    }
  }

  /// Prepares a training image.
  ///
  /// - Parameters:
  ///   - image: The stored image.
  ///   - epoch: The pass over the training set, from 0.
  ///   - sample: The index of the image in the dataset.
  ///   - size: The rows and columns of the result, in ``imageSizes``.
  ///   - output: The destination, `HWC`, `size`·`size`·3 values.
  public func prepareTraining(
    _ image: StoredImage, epoch: Int, sample: Int, size: Int = 32,
    into output: UnsafeMutablePointer<Float>
  ) {
    var placement = augmentation.placement(seed: seed, epoch: epoch, sample: sample)
    if resolutionMode == .crop && size < ImageDataset.imageSize {
      let stream = RandomStream(seed: seed, purpose: "resolution crop", step: UInt64(epoch))
      let positionCount = ImageDataset.imageSize - size + 1
      placement.crop(
        to: size, row: stream.integer(UInt64(2 * sample), below: positionCount),
        column: stream.integer(UInt64(2 * sample + 1), below: positionCount))
    }
    render(image, placement, size: size, into: output)
  }

  /// Prepares a test image: normalizes it and reduces its resolution.
  ///
  /// - Parameters:
  ///   - image: The stored image.
  ///   - size: The rows and columns of the result, in ``imageSizes``.
  ///   - view: The mirror image or shift to show, for averages over several views.
  ///   - output: The destination, `HWC`, `size`·`size`·3 values.
  public func prepareTest(
    _ image: StoredImage, size: Int = 32, view: ImageView = ImageView(),
    into output: UnsafeMutablePointer<Float>
  ) {
    var placement = ImagePlacement()
    placement.isMirrored = view.isMirrored
    (placement.top, placement.left) = (view.rowShift, view.columnShift)
    if resolutionMode == .crop {
      let margin = (ImageDataset.imageSize - size) / 2
      placement.crop(to: size, row: margin, column: margin)
    }
    render(image, placement, size: size, into: output)
  }

  private func render(
    _ image: StoredImage, _ placement: ImagePlacement, size: Int, into output: UnsafeMutablePointer<Float>
  ) {
    precondition(Self.imageSizes.contains(size), "an image has 1 to 32 pixels per side")
    guard placement.extent == size else {
      // 12 KiB on the stack: a temporary allocation of this size would use the heap.
      var full = InlineArray<3072, Float>(repeating: 0)
      withUnsafeMutableBytes(of: &full) { bytes in
        guard let full = bytes.assumingMemoryBound(to: Float.self).baseAddress else { return }
        renderPixels(image, placement, into: full)
        AreaMean.resize(full, to: size, into: output)
      }
      return
    }
    renderPixels(image, placement, into: output)
  }

  private func renderPixels(
    _ image: StoredImage, _ placement: ImagePlacement, into output: UnsafeMutablePointer<Float>
  ) {
    switch (image, normalization) {
    case (.planes(let planes), .zca(let whitening)):
      var whitened = InlineArray<3072, Float>(repeating: 0)
      withUnsafeMutableBytes(of: &whitened) { bytes in
        guard let whitened = bytes.assumingMemoryBound(to: Float.self).baseAddress else { return }
        whitening.apply(to: planes, into: whitened)
        placement.render(NormalizedPixels(pixels: whitened), into: output)
      }
    case (.planes(let planes), _):
      lookupTable.withUnsafeBufferPointer { table in
        guard let values = table.baseAddress else { return }
        placement.render(BytePlanes(planes: planes, values: values), into: output)
      }
    case (.whitened(let pixels), .zca):
      placement.render(NormalizedPixels(pixels: pixels), into: output)
    case (.whitened, _): preconditionFailure("a whitened split needs the normalization zca")
    }
  }
}

/// The way in which a test image is shown.
public struct ImageView: Sendable, Hashable {
  /// Whether the image is mirrored horizontally.
  public var isMirrored: Bool
  /// The number of rows by which the shown window is moved down, −31 … 31; the border is reflected.
  public var rowShift: Int
  /// The number of columns by which the shown window is moved right, −31 … 31; the border is reflected.
  public var columnShift: Int

  /// Creates a view; the default shows the image as it is.
  ///
  /// - Precondition: Both shifts are in −31 … 31.
  public init(isMirrored: Bool = false, rowShift: Int = 0, columnShift: Int = 0) {
    precondition(abs(rowShift) < 32 && abs(columnShift) < 32, "a view is shifted by at most 31 pixels")
    self.isMirrored = isMirrored
    self.rowShift = rowShift
    self.columnShift = columnShift
  }
}

/// The pixels of a stored 32×32 image; valid during the call that passes them.
public enum StoredImage {
  /// Raw values, `CHW`: 1,024 bytes of red, green and blue.
  case planes(UnsafePointer<UInt8>)
  /// Whitened values, `HWC`.
  case whitened(UnsafePointer<Float>)
}
