/// Numbers with units on the command line.
public enum Quantity {
  /// Reads a data rate: `10Gb`, `400mbit`, `25Gb/s` in bits, `1.25GB` in bytes.
  ///
  /// - Parameter text: A positive number and a unit; `b` or `bit` means bits, a capital `B` bytes.
  /// - Returns: Bytes per second; `nil` for anything else.
  public static func bytesPerSecond(_ text: String) -> Double? {
    var (number, unit) = split(text)
    if unit.hasSuffix("/s") { unit.removeLast(2) }
    if unit.lowercased().hasSuffix("bit") { unit = String(unit.dropLast(3)) + "b" }
    if unit.lowercased().hasSuffix("bps") { unit = String(unit.dropLast(2)) }
    guard let value = Double(number), value.isFinite, value > 0, let kind = unit.last, kind == "b" || kind == "B" else {
      return nil
    }
    let scales: [String: Double] = ["": 1, "k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12]
    guard let scale = scales[unit.dropLast().lowercased()] else { return nil }
    return value * scale / (kind == "b" ? 8 : 1)
  }

  /// Reads a time: `20us`, `0.5ms`, `1s`, `800ns`.
  ///
  /// - Parameter text: A nonnegative number and a unit.
  /// - Returns: Seconds; `nil` for anything else.
  public static func seconds(_ text: String) -> Double? {
    let (number, unit) = split(text)
    let scales: [String: Double] = ["ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1]
    guard let value = Double(number), value.isFinite, value >= 0, let scale = scales[unit] else { return nil }
    return value * scale
  }

  /// Reads counts: `1,2,6`, or `1…1024` (also `1..1024`, `1-1024`), which means the first and last number and the powers of
  /// two between them.
  ///
  /// - Parameter text: Numbers and ranges, separated by commas.
  /// - Returns: Distinct positive numbers in ascending order; `nil` for anything else.
  public static func counts(_ text: String) -> [Int]? {
    var result = Set<Int>()
    for element in text.split(separator: ",", omittingEmptySubsequences: false) {
      let range = element.replacing("...", with: "-").replacing("…", with: "-").replacing("..", with: "-")
      let bounds = range.split(separator: "-", omittingEmptySubsequences: false).map { Int($0) }
      guard (1...2).contains(bounds.count), let first = bounds.first ?? nil, let last = bounds.last ?? nil,
        (1...1_000_000).contains(first), (first...1_000_000).contains(last)
      else { return nil }
      var count = 1
      while count <= last {
        if count >= first { result.insert(count) }
        count *= 2
      }
      result.formUnion([first, last])
    }
    return result.sorted()
  }

  private static func split(_ text: String) -> (number: String, unit: String) {
    let number = text.prefix { $0.isNumber || $0 == "." }
    return (String(number), text.dropFirst(number.count).filter { $0 != " " })
  }
}
