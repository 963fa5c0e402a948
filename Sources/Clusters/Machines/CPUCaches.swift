import Foundation

/// The data caches of the cores that a process may use, as Linux reports them.
///
/// For reports only: no block size and no result depends on them. Systems report missing, empty and absurd sizes, which are
/// kept as they are.
public struct CPUCaches: Sendable {
  /// A data or unified cache.
  public struct Cache: Hashable, Sendable {
    /// 1 for the cache that is nearest to the core.
    public let level: Int
    /// `L1d`, `L2` and so on; `L1` for a unified one.
    public let name: String
    /// Bytes, 0 included; `nil` if Linux reports no number.
    public let byteCount: Int?
    /// All cores that use the cache, also those that the process may not use.
    public let cores: Set<Int>
  }

  /// The caches of each usable core, by ascending core and level; none for a core that Linux reports none of.
  public let cachesOfCores: [(core: Int, caches: [Cache])]

  /// Reads the caches.
  ///
  /// - Parameters:
  ///   - cores: The numbers of the cores that the process may use, as Linux counts them.
  ///   - root: The directory that holds `sys`, for tests.
  public init(cores: some Sequence<Int>, root: String = "/") {
    cachesOfCores = cores.sorted().map { core in
      (core, Self.caches(of: core, "\(root)/\(Self.directory(of: core))"))
    }
  }

  /// The directory of a core's caches, below the root.
  static func directory(of core: Int) -> String { "sys/devices/system/cpu/cpu\(core)/cache" }

  private static func caches(of core: Int, _ directory: String) -> [Cache] {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? []
    let caches = names.filter { $0.hasPrefix("index") }.sorted().compactMap { name -> Cache? in
      let field = { (file: String) in text("\(directory)/\(name)/\(file)") }
      let type = field("type")
      guard let level = Int(field("level")), (1...9).contains(level), type != "Instruction" else { return nil }
      // A list that cannot be read, or that lacks the core itself, says nothing about other cores.
      let cores = coreList(field("shared_cpu_list")).flatMap { $0.contains(core) ? $0 : nil }
      return Cache(
        level: level, name: "L\(level)" + (level == 1 && type == "Data" ? "d" : ""),
        byteCount: byteCount(field("size")), cores: cores ?? [core])
    }
    // One cache per level.
    return Dictionary(grouping: caches, by: \.level).sorted { $0.key < $1.key }.compactMap(\.value.first)
  }

  private static func text(_ file: String) -> String {
    let text = (try? String(contentsOfFile: file, encoding: .utf8)) ?? ""
    return text.trimmingCharacters(in: .whitespacesAndNewlines)
  }

  /// Reads a size such as `48K`, `1024K` or `2G`; units are powers of 1024.
  ///
  /// - Returns: Bytes; `nil` for anything else, and for a number that does not fit.
  static func byteCount(_ text: String) -> Int? {
    let shifts: [Character: Int] = ["K": 10, "M": 20, "G": 30]
    let shift = text.last.flatMap { shifts[$0] }
    let digits = shift == nil ? text[...] : text.dropLast()
    // `Int` would read a sign.
    guard digits.allSatisfy({ $0.isASCII && $0.isNumber }), let number = Int(digits) else { return nil }
    let (bytes, isTooLarge) = number.multipliedReportingOverflow(by: 1 << (shift ?? 0))
    return isTooLarge ? nil : bytes
  }

  /// Reads a list of cores such as `0-3,8`.
  ///
  /// - Returns: `nil` for anything else, and for cores beyond the 8,192 that Linux supports at most.
  static func coreList(_ text: String) -> Set<Int>? {
    var cores: Set<Int> = []
    for range in text.split(separator: ",", omittingEmptySubsequences: false) {
      let bounds = range.split(separator: "-", omittingEmptySubsequences: false).map { Int($0) ?? -1 }
      guard let first = bounds.first, let last = bounds.last, bounds.count <= 2,
        0 <= first, first <= last, last < 8192
      else { return nil }
      cores.formUnion(first...last)
    }
    return cores
  }
}
