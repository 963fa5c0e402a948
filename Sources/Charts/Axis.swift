import Foundation

/// The scale of a chart's axis: a range of data, its ticks and their labels.
public struct Axis: Sendable {
  /// A labelled position.
  public struct Tick: Hashable, Sendable {
    /// The position in units of the data.
    public let value: Double
    /// The text beside it.
    public let label: String
  }

  /// The notation of tick labels.
  public enum Notation: Sendable {
    /// `0.5`, `1,000`.
    case number
    /// `50 %` for 0.5.
    case percent
  }

  /// The quantity and its unit, for example `training time (s)`.
  public let label: String
  /// The data that the axis covers; the bounds differ.
  public let range: ClosedRange<Double>
  /// The ticks within ``range``, ascending.
  public let ticks: [Tick]
  private let isLogarithmic: Bool

  /// Creates a linear axis with at most `tickLimit` ticks at multiples of 1, 2 or 5 times a power of ten.
  ///
  /// - Parameters:
  ///   - label: The quantity and its unit.
  ///   - values: The data to cover; values that are not finite, and magnitudes from 1e300 on, are ignored.
  ///   - includesZero: Whether the axis begins at 0 if no value is negative.
  ///   - isTight: Whether the axis ends at the extreme values; if not, it ends at ticks.
  ///   - notation: The notation of tick labels.
  ///   - tickLimit: The largest number of ticks, at least 2.
  public init(
    _ label: String, covering values: some Sequence<Double>, includesZero: Bool = false, isTight: Bool = false,
    notation: Notation = .number, tickLimit: Int = 6
  ) {
    precondition(tickLimit >= 2, "an axis needs at least two ticks")
    self.label = label
    isLogarithmic = false
    var (low, high) = (Double.infinity, -Double.infinity)
    for value in values where value.magnitude < 1e300 { (low, high) = (min(low, value), max(high, value)) }
    if low > high { (low, high) = (0, 1) }
    if includesZero { (low, high) = (min(low, 0), max(high, 0)) }
    if low == high { (low, high) = (low - max(abs(low) * 0.1, 0.5), high + max(abs(high) * 0.1, 0.5)) }
    var step = Self.step(atLeast: (high - low) / Double(tickLimit - 1))
    if !isTight {
      // Rounding to ticks may add one at each end.
      while (high / step).rounded(.up) - (low / step).rounded(.down) > Double(tickLimit - 1) {
        step = Self.step(atLeast: step * 1.01)
      }
      (low, high) = ((low / step).rounded(.down) * step, (high / step).rounded(.up) * step)
    }
    range = low...high
    let first = (low / step - 1e-9).rounded(.up)
    let last = (high / step + 1e-9).rounded(.down)
    ticks = stride(from: first, through: last, by: 1).map {
      Tick(value: $0 * step, label: Self.text($0 * step, step: step, notation))
    }
  }

  /// Creates a logarithmic axis with a tick at each of some values.
  ///
  /// - Parameters:
  ///   - label: The quantity and its unit.
  ///   - values: Positive; duplicates are ignored.
  public init(_ label: String, logarithmicTicksAt values: [Double]) {
    self.label = label
    isLogarithmic = true
    let values = Set(values.filter { $0 > 0 && $0.isFinite }).sorted()
    let low = values.first ?? 1
    range = low...max(values.last ?? 2, low * 1.001)
    ticks = values.map { Tick(value: $0, label: Self.text($0, step: 1, .number)) }
  }

  /// The position of a value on the axis: 0 at the lower bound, 1 at the upper one.
  public func fraction(of value: Double) -> Double {
    let map: (Double) -> Double = isLogarithmic ? { log2(max($0, .leastNonzeroMagnitude)) } : { $0 }
    return (map(value) - map(range.lowerBound)) / (map(range.upperBound) - map(range.lowerBound))
  }

  /// The smallest of 1, 2 and 5 times a power of ten that is at least a value.
  private static func step(atLeast value: Double) -> Double {
    let power = pow(10, log10(max(value, 1e-300)).rounded(.down))
    let factor = [1.0, 2, 5].first { $0 * power >= value * (1 - 1e-9) } ?? 10
    return factor * power
  }

  private static func text(_ value: Double, step: Double, _ notation: Notation) -> String {
    switch notation {
    case .percent:
      let decimals = max(0, Int(-log10(step * 100).rounded(.down)))
      return NumberText.fixed(value * 100, decimals: decimals) + " %"
    case .number:
      let decimals = max(0, Int(-(log10(step) + 1e-9).rounded(.down)))
      return NumberText.fixed(value, decimals: decimals)
    }
  }
}

/// Numbers as text, independent of the locale.
public enum NumberText {
  /// Returns a number with a fixed number of decimals, and commas between groups of three digits from 10,000 on.
  public static func fixed(_ value: Double, decimals: Int) -> String {
    guard value.isFinite else { return "–" }
    var text = String(format: "%.\(min(max(decimals, 0), 9))f", value)
    if Double(text) == 0, text.hasPrefix("-") { text.removeFirst() }
    guard abs(value) >= 10_000 else { return text }
    let end = text.firstIndex(of: ".") ?? text.endIndex
    var digits = Array(text[..<end])
    let start = digits.first == "-" ? 1 : 0
    for position in stride(from: digits.count - 3, to: start, by: -3) { digits.insert(",", at: position) }
    return String(digits) + text[end...]
  }

  /// Returns a coordinate with at most one decimal, without a trailing zero.
  public static func coordinate(_ value: Double) -> String {
    let tenths = Int((min(max(value, -1e9), 1e9) * 10).rounded())
    let rest = abs(tenths) % 10
    return (tenths < 0 ? "-" : "") + "\(abs(tenths) / 10)" + (rest == 0 ? "" : ".\(rest)")
  }
}
