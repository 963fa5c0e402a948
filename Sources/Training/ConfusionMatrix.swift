/// How often images of one class were taken for another.
public struct ConfusionMatrix: Sendable, Hashable {
  /// The number of classes.
  public let classCount: Int
  /// The counts, `[label, prediction]`.
  public private(set) var counts: [Int]

  /// Makes a matrix of zeros.
  public init(classCount: Int) {
    self.classCount = classCount
    counts = [Int](repeating: 0, count: classCount * classCount)
  }

  /// Counts one image.
  public mutating func count(label: Int, prediction: Int) {
    counts[label * classCount + prediction] += 1
  }

  /// Adds the counts of other images, `[label, prediction]`.
  mutating func add(_ others: some Collection<Int>) {
    for (i, count) in others.enumerated() { counts[i] += count }
  }

  /// The counts of the images of one class, by prediction.
  public func row(_ label: Int) -> ArraySlice<Int> {
    counts[label * classCount..<(label + 1) * classCount]
  }

  /// The images.
  public var exampleCount: Int { counts.reduce(0, +) }
  /// The images that were taken for what they are.
  public var correctCount: Int {
    (0..<classCount).reduce(0) { $0 + counts[$1 * classCount + $1] }
  }

  /// The correct part of the images of one class, 0 … 1; nil if there were none.
  public func accuracy(label: Int) -> Double? {
    let total = row(label).reduce(0, +)
    return total == 0 ? nil : Double(counts[label * classCount + label]) / Double(total)
  }
}
