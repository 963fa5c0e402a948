import Collectives

/// A 64-bit digest of something that must be equal on all ranks: a layout, a configuration, parameters.
///
/// FNV-1a over bytes, eight at a time for long buffers. It finds accidents, not attacks.
public struct ConsistencyDigest: Hashable, Sendable {
  private static let prime: UInt64 = 0x100_0000_01b3
  /// The digest so far.
  public private(set) var value: UInt64 = 0xcbf2_9ce4_8422_2325

  /// Starts a digest of nothing.
  public init() {}

  /// Takes in a text and its length.
  public mutating func combine(_ text: String) {
    combine(UInt64(text.utf8.count))
    for byte in text.utf8 { combine(UInt64(byte)) }
  }

  /// Takes in one number.
  public mutating func combine(_ number: UInt64) { value = (value ^ number) &* Self.prime }

  /// Takes in bytes, eight at a time as little-endian numbers.
  public mutating func combine(_ bytes: UnsafeRawBufferPointer) {
    combine(UInt64(bytes.count))
    let words = bytes.count / 8
    for i in 0..<words {
      let word = UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: 8 * i, as: UInt64.self))
      // The multiplication carries only upwards; the rotation lets high bits reach low ones.
      value = (value ^ word) &* Self.prime
      value = value << 29 | value >> 35
    }
    for i in words * 8..<bytes.count { combine(UInt64(bytes[i])) }
  }

  /// Compares a digest over all ranks.
  ///
  /// Every rank calls it.
  ///
  /// - Parameters:
  ///   - subject: What was digested, as it stands in a sentence: `the configuration`.
  ///   - communicator: The ranks.
  /// - Throws: ``Mismatch`` on every rank if any two differ; ``CommunicationError`` if the exchange fails.
  public func requireEqual(_ subject: String, on communicator: any Communicator) throws {
    let worldSize = communicator.worldSize
    var values = [UInt64](repeating: 0, count: worldSize)
    try withUnsafeBytes(of: value) { mine in
      try values.withUnsafeMutableBytes { all in
        try communicator.allGather(
          mine, into: all, counts: [Int](repeating: mine.count, count: worldSize))
      }
    }
    // The value that most ranks have is taken for the right one; the lowest rank decides a tie.
    let counts = Dictionary(values.map { ($0, 1) }, uniquingKeysWith: +)
    let usual = values.max { (counts[$0] ?? 0, 0) < (counts[$1] ?? 0, 0) } ?? value
    let odd = values.indices.filter { values[$0] != usual }
    if !odd.isEmpty {
      throw Mismatch(subject: subject, ranks: odd, worldSize: worldSize)
    }
  }

  /// Ranks that do not agree.
  public struct Mismatch: Error, CustomStringConvertible {
    /// What differs.
    public let subject: String
    /// The ranks that differ from the majority.
    public let ranks: [Int]
    /// The number of ranks.
    public let worldSize: Int

    /// One sentence: what differs, where, and how to mend it.
    public var description: String {
      let names = ranks.map(String.init).joined(separator: ", ")
      return "\(subject) of rank \(names) of \(worldSize) differs from the other ranks'; "
        + "start all ranks with the same program, flags and data."
    }
  }
}

/// Lets all ranks find out whether they were started alike, and if not, in what they differ.
///
/// Digests are compared first; only where they differ do the settings themselves travel, so that the difference can be named.
public enum SettingsConsistency {
  /// What settings are about, which decides what a difference means.
  public enum Subject: String, Sendable {
    /// Flags of the command line or of a configuration file.
    case flags
    /// Training and test images.
    case data
    /// The program itself.
    case program
    /// The network's tensors and their first values.
    case layout
  }

  /// Compares settings over all ranks.
  ///
  /// Collective: every rank calls it at the same point of its start.
  ///
  /// - Parameters:
  ///   - settings: Names and values of this rank; their number may differ between ranks.
  ///   - subject: What they are about.
  ///   - communicator: The ranks.
  /// - Throws: ``Difference`` on every rank if any two differ; ``CommunicationError`` if the exchange fails.
  public static func requireEqual(
    _ settings: [(name: String, value: String)], _ subject: Subject, on communicator: any Communicator
  ) throws {
    var digest = ConsistencyDigest()
    for (name, value) in settings {
      digest.combine(name)
      digest.combine(value)
    }
    let digests = try communicator.allGather(String(digest.value, radix: 16))
    guard Set(digests).count > 1 else { return }
    // Names and values have no line feeds and no tabs, or lose them.
    let clean = { (text: String) in text.replacing("\n", with: " ").replacing("\t", with: " ") }
    let text = settings.map { "\(clean($0.name))\t\(clean($0.value))" }.joined(separator: "\n")
    let tables = try communicator.allGather(text).map(parse)
    throw Difference(subject: subject, tables: tables)
  }

  private static func parse(_ text: String) -> [(name: String, value: String)] {
    text.split(separator: "\n").map { line in
      let parts = line.split(separator: "\t", maxSplits: 1, omittingEmptySubsequences: false)
      return (String(parts[0]), parts.count > 1 ? String(parts[1]) : "")
    }
  }

  /// Ranks that were not started alike.
  public struct Difference: Error, CustomStringConvertible {
    /// What differs.
    public let subject: Subject
    /// One sentence: which setting, which value on which rank, and how to mend it.
    public let description: String

    init(subject: Subject, tables: [[(name: String, value: String)]]) {
      self.subject = subject
      var names: [String] = []
      for table in tables { for (name, _) in table where !names.contains(name) { names.append(name) } }
      let different = names.compactMap { name in
        Self.sentence(name, tables.map { table in table.first { $0.name == name }?.value }, subject: subject)
      }
      let shown = different.prefix(3).joined(separator: "; ")
      let more = different.count > 3 ? "; and \(different.count - 3) more differ" : ""
      let what = different.isEmpty ? "the \(subject.rawValue) of the ranks differ" : shown + more
      description = "\(what); \(Self.remedy(subject))."
    }

    /// `--learning-rate is 0.01 on ranks 0 and 2 but 0.02 on rank 1`; nil if all are equal.
    private static func sentence(_ name: String, _ values: [String?], subject: Subject) -> String? {
      let groups = Dictionary(grouping: values.indices) { values[$0] ?? "not set" }
      guard groups.count > 1 else { return nil }
      // What most ranks have comes first; the lowest rank decides a tie.
      let sorted = groups.sorted { ($1.value.count, $0.value[0]) < ($0.value.count, $1.value[0]) }
      let parts = sorted.prefix(3).map { "\($0.key) on \(RankList.text($0.value))" }
      let rest = sorted.count > 3 ? ", and other values elsewhere" : ""
      let prefix = subject == .flags ? "--" : "the "
      return "\(prefix)\(name) is \(parts.joined(separator: " but "))\(rest)"
    }

    private static func remedy(_ subject: Subject) -> String {
      switch subject {
      case .flags: "start all ranks with the same flags"
      case .data: "give all ranks the same images with --data"
      case .program: "install the same build of wrn-dist on every host"
      case .layout: "start all ranks with the same program and the same flags"
      }
    }
  }
}

/// Ranks in words.
public enum RankList {
  /// Returns `rank 3`, `ranks 0 and 2` or `ranks 0, 1, 2 and 5 more`.
  ///
  /// - Parameter ranks: At least one rank.
  /// - Returns: Words for a sentence.
  public static func text(_ ranks: [Int]) -> String {
    guard ranks.count > 1, let last = ranks.last else { return "rank \(ranks.first ?? 0)" }
    if ranks.count > 4 {
      return "ranks " + ranks.prefix(3).map(String.init).joined(separator: ", ") + " and \(ranks.count - 3) more"
    }
    return "ranks " + ranks.dropLast().map(String.init).joined(separator: ", ") + " and \(last)"
  }
}
