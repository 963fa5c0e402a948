import Digests
import Tensors

/// A dataset of 32×32 color images in the official binary layout of CIFAR-10 or CIFAR-100.
///
/// ``DatasetKind`` describes the records. Files are memory-mapped, so a rank reads only the records that it needs.
///
/// Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.
public final class ImageDataset: Sendable {
  /// The rows and columns of an image.
  public static let imageSize = 32

  /// The layout and the classes.
  public let kind: DatasetKind
  /// The training set.
  public let training: Split
  /// The test set.
  public let test: Split
  /// The class names, in the order of the labels.
  public let classNames: [String]
  /// The coarse class names, in the order of the coarse labels; empty without coarse classes.
  public let coarseClassNames: [String]

  /// Creates a dataset from its two splits.
  init(kind: DatasetKind, training: Split, test: Split, classNames: [String], coarseClassNames: [String]) {
    self.kind = kind
    self.training = training
    self.test = test
    self.classNames = classNames
    self.coarseClassNames = coarseClassNames
  }

  /// Returns the dataset with other images in its splits, such as whitened ones.
  public func replacing(training: Split, test: Split) -> ImageDataset {
    ImageDataset(
      kind: kind, training: training, test: test, classNames: classNames, coarseClassNames: coarseClassNames)
  }

  /// Returns the properties that must be equal on all ranks: class names, and size and digest of each split.
  ///
  /// A digest covers every byte of the split's files: about 0.1 s for the real dataset if it is in the page cache. The
  /// embedded synthetic set is identified by its seed, which determines every byte.
  public func manifest() -> [(name: String, value: String)] {
    [
      ("class names", classNames.joined(separator: " ")),
      ("training images", String(training.count)), ("training set", training.contentDigest),
      ("test images", String(test.count)), ("test set", test.contentDigest),
    ]
  }

  /// Returns 16 hexadecimal digits over class names, sizes and three records of each split.
  ///
  /// The fingerprint detects a mistake, for example the synthetic set in place of the real one. It reads only six
  /// records; ``manifest()`` covers all.
  ///
  /// - Throws: ``DatasetError`` if one of these records has an invalid label.
  public func fingerprint() throws -> String {
    let hash = SHA256()
    func add(_ number: Int) { withUnsafeBytes(of: Int64(number).littleEndian) { hash.update($0) } }
    for name in classNames { Array(name.utf8 + [0]).withUnsafeBytes { hash.update($0) } }
    let pixels = AlignedBuffer<Float>(count: 3072)
    for split in [training, test] {
      add(split.count)
      for index in [0, split.count / 2, split.count - 1] {
        add(Int(try split.readRecord(at: index, pixels: pixels.pointer)))
        for value in pixels.elements { add(Int(value)) }
      }
    }
    return hash.finalize().prefix(8).hexadecimal
  }
}
