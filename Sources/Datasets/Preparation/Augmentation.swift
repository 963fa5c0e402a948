import Tensors

/// Random changes to training images; test images never change.
///
/// The order is: flip, pad and crop, cutout. All work on normalized images, so zeros are the mean color under mean/std
/// normalization. Every random number is a pure function of (seed, purpose, epoch, sample): it does not depend on ranks,
/// the position in a batch, or restarts.
public struct Augmentation: Sendable, Hashable, Codable {
  /// The values of ``cropPadding``.
  public static let cropPaddings = 0...31
  /// The values of ``cutout``.
  public static let cutouts = 0...32

  /// The pixels added at each border, of which a random 32×32 window is kept, 0 … 31; 0 crops nothing.
  ///
  /// Both offsets of the window are uniform over 0 … 2·padding.
  public var cropPadding: Int
  /// The content of the padding.
  public var cropBorder: CropBorder
  /// The horizontal flip.
  public var flip: FlipMode
  /// The side of a square of zeros, in pixels, 0 … 32; 0 cuts out nothing.
  ///
  /// The square lies inside the image, at a uniform position, as in cifar10-fast (Page, "How to Train Your ResNet", 2018).
  /// In the paper (DeVries and Taylor, arXiv 1708.04552) its center is uniform and the border may clip it.
  public var cutout: Int

  /// Creates an augmentation; the default changes nothing.
  ///
  /// - Precondition: `cropPadding` is in ``cropPaddings``, `cutout` in ``cutouts``.
  public init(
    cropPadding: Int = 0, cropBorder: CropBorder = .reflect, flip: FlipMode = .none, cutout: Int = 0
  ) {
    precondition(Self.cropPaddings.contains(cropPadding), "the crop padding must be 0 to 31 pixels")
    precondition(Self.cutouts.contains(cutout), "the side of a cutout must be 0 to 32 pixels")
    self.cropPadding = cropPadding
    self.cropBorder = cropBorder
    self.flip = flip
    self.cutout = cutout
  }

  /// Returns the changes to one image.
  ///
  /// - Parameters:
  ///   - seed: The seed of the run.
  ///   - epoch: The pass over the training set, from 0.
  ///   - sample: The index of the image in the dataset.
  /// - Returns: The part of the stored image that each output pixel shows.
  func placement(seed: UInt64, epoch: Int, sample: Int) -> ImagePlacement {
    var placement = ImagePlacement()
    let (epoch, sample) = (UInt64(epoch), UInt64(sample))
    switch flip {
    case .none: break
    case .random: placement.isMirrored = Self.isFlipped(seed, epoch: epoch, sample)
    case .alternating:
      placement.isMirrored = Self.isFlipped(seed, epoch: 0, sample) != (epoch % 2 == 1)
    }
    if cropPadding > 0 {
      let stream = RandomStream(seed: seed, purpose: "crop", step: epoch)
      placement.top = stream.integer(2 * sample, below: 2 * cropPadding + 1) - cropPadding
      placement.left = stream.integer(2 * sample + 1, below: 2 * cropPadding + 1) - cropPadding
      placement.border = cropBorder
    }
    if cutout > 0 {
      let stream = RandomStream(seed: seed, purpose: "cutout", step: epoch)
      let positionCount = ImageDataset.imageSize - cutout + 1
      placement.cutoutSize = cutout
      placement.cutoutTop = stream.integer(2 * sample, below: positionCount)
      placement.cutoutLeft = stream.integer(2 * sample + 1, below: positionCount)
    }
    return placement
  }

  private static func isFlipped(_ seed: UInt64, epoch: UInt64, _ sample: UInt64) -> Bool {
    RandomStream(seed: seed, purpose: "flip", step: epoch).integer(sample, below: 2) == 1
  }
}

/// The content of an image's padding.
public enum CropBorder: String, Codable, CaseIterable, Sendable {
  /// The image mirrored at its border, without repeating the edge pixel: `reflect` of NumPy and PyTorch.
  case reflect
  /// Zeros after normalization.
  case zero
}

/// The horizontal flip of training images.
public enum FlipMode: String, Codable, CaseIterable, Sendable {
  /// No flip.
  case none
  /// A flip with probability ½ per image and epoch.
  case random
  /// A random flip per image in epoch 0; in every other epoch the image is flipped relative to the epoch before.
  ///
  /// Two consecutive epochs show both mirror images (Jordan, "94% on CIFAR-10 in 3.29 Seconds", arXiv 2404.00498).
  case alternating
}
