import Collectives
import Support

/// Comparison of values that must be equal on all ranks.
public enum RankConsistency {
  /// Groups ranks by their values.
  ///
  /// - Parameter values: One value per rank, in rank order.
  /// - Returns: The distinct values with their ranks in ascending order; groups with more ranks come first, and of equal
  ///   groups that with the lowest rank.
  public static func groups<Value: Hashable>(_ values: [Value]) -> [(value: Value, ranks: [Int])] {
    Dictionary(grouping: values.indices) { values[$0] }
      .map { (value: $0.key, ranks: $0.value) }
      .sorted { ($1.ranks.count, $0.ranks[0]) < ($0.ranks.count, $1.ranks[0]) }
  }
}

/// A 64-bit digest of data that must be equal on all ranks: a layout, a configuration, parameters.
///
/// FNV-1a over bytes; long buffers are hashed eight bytes at a time. It detects accidents, not attacks.
public struct ConsistencyDigest: Hashable, Sendable {
  private var hash = FNV1a()

  /// The digest of all data combined so far.
  public var value: UInt64 { hash.value }

  /// Creates the digest of no data.
  public init() {}

  /// Combines the length and the UTF-8 bytes of a text.
  public mutating func combine(_ text: String) {
    combine(UInt64(text.utf8.count))
    for byte in text.utf8 { combine(UInt64(byte)) }
  }

  /// Combines one number.
  public mutating func combine(_ number: UInt64) { hash.combine(number) }

  /// Combines the length and the bytes of a buffer.
  public mutating func combine(_ bytes: UnsafeRawBufferPointer) {
    combine(UInt64(bytes.count))
    hash.combine(wordsOf: bytes)
  }

  /// Collective: compares this digest over all ranks.
  ///
  /// - Parameters:
  ///   - subject: The data, as the subject of a sentence: `the configuration`.
  ///   - communicator: The ranks.
  /// - Throws: ``Mismatch`` on every rank if two digests differ; `CommunicationError` if communication fails.
  public func verifyEqual(_ subject: String, on communicator: any Communicator) throws {
    // The value of the largest group counts as the expected one.
    let groups = RankConsistency.groups(try communicator.allGather(value))
    guard groups.count > 1 else { return }
    throw Mismatch(
      subject: subject, ranks: groups.dropFirst().flatMap(\.ranks).sorted(), worldSize: communicator.worldSize)
  }

  /// Ranks whose digests differ from the expected one.
  public struct Mismatch: Error, CustomStringConvertible {
    /// The data that differ.
    public let subject: String
    /// The ranks outside the largest group of equal digests, in ascending order.
    public let ranks: [Int]
    /// The number of ranks.
    public let worldSize: Int

    /// One sentence: the data, the ranks, and the fix.
    public var description: String {
      let names = ranks.map(String.init).joined(separator: ", ")
      return "\(subject) of rank \(names) of \(worldSize) differs from the other ranks'; "
        + "start all ranks with the same program, flags and data."
    }
  }
}

/// The check that all ranks were started with equal settings, which names the settings that differ.
///
/// Ranks compare digests first. They exchange the settings themselves only if digests differ.
public enum SettingsConsistency {
  /// The kind of settings, which determines the fix and the exit code of a mismatch.
  public enum Subject: String, Sendable {
    /// Flags of the command line or of a configuration file.
    case flags
    /// Training and test images.
    case data
    /// The program itself.
    case program
    /// The model's tensors and their initial values.
    case layout
  }

  /// Collective: compares settings over all ranks.
  ///
  /// - Parameters:
  ///   - settings: Names and values of this rank; their number may differ between ranks.
  ///   - subject: The kind of settings.
  ///   - communicator: The ranks.
  /// - Throws: ``Mismatch`` on every rank if two ranks differ; `CommunicationError` if communication fails.
  public static func verifyEqual(
    _ settings: [(name: String, value: String)], _ subject: Subject, on communicator: any Communicator
  ) throws {
    var digest = ConsistencyDigest()
    for (name, value) in settings {
      digest.combine(name)
      digest.combine(value)
    }
    let digests = try communicator.allGather(digest.value)
    guard Set(digests).count > 1 else { return }
    // Line feeds and tabs separate settings in the message, so those in names and values are replaced.
    let clean = { (text: String) in text.replacing("\n", with: " ").replacing("\t", with: " ") }
    let text = settings.map { "\(clean($0.name))\t\(clean($0.value))" }.joined(separator: "\n")
    let tables = try communicator.allGather(text).map(parse)
    throw Mismatch(subject: subject, tables: tables)
  }

  private static func parse(_ text: String) -> [(name: String, value: String)] {
    text.split(separator: "\n").map { line in
      let fields = line.split(separator: "\t", maxSplits: 1, omittingEmptySubsequences: false)
      return (String(fields[0]), fields.count > 1 ? String(fields[1]) : "")
    }
  }

  /// Ranks that were started with different settings.
  public struct Mismatch: Error, CustomStringConvertible {
    /// The kind of settings.
    public let subject: Subject
    /// One sentence: the settings that differ, their values with the ranks, and the fix.
    public let description: String

    init(subject: Subject, tables: [[(name: String, value: String)]]) {
      self.subject = subject
      var names: [String] = []
      for table in tables { for (name, _) in table where !names.contains(name) { names.append(name) } }
      let different = names.compactMap { name in
        Self.clause(name, tables.map { table in table.first { $0.name == name }?.value }, subject: subject)
      }
      let shown = different.prefix(3).joined(separator: "; ")
      let more = different.count > 3 ? "; and \(different.count - 3) more differ" : ""
      let what = different.isEmpty ? "the \(subject.rawValue) of the ranks differ" : shown + more
      description = "\(what); \(Self.fix(subject))."
    }

    /// For example `--learning-rate is 0.01 on ranks 0 and 2 but 0.02 on rank 1`; `nil` if all values are equal.
    private static func clause(_ name: String, _ values: [String?], subject: Subject) -> String? {
      let groups = RankConsistency.groups(values.map { $0 ?? "not set" })
      guard groups.count > 1 else { return nil }
      let shown = groups.prefix(3).map { "\($0.value) on \(RankList.description($0.ranks))" }
      let rest = groups.count > 3 ? ", and other values elsewhere" : ""
      let prefix = subject == .flags ? "--" : "the "
      return "\(prefix)\(name) is \(shown.joined(separator: " but "))\(rest)"
    }

    private static func fix(_ subject: Subject) -> String {
      switch subject {
      case .flags: "start all ranks with the same flags"
      case .data: "give all ranks the same images with --data"
      case .program: "install the same build of wrn-dist on every host"
      case .layout: "start all ranks with the same program and the same flags"
      }
    }
  }
}

/// Descriptions of ranks for messages.
public enum RankList {
  /// Returns `rank 3`, `ranks 0 and 2` or `ranks 0, 1, 2 and 5 more`.
  ///
  /// - Parameter ranks: At least one rank.
  /// - Returns: A noun phrase.
  public static func description(_ ranks: [Int]) -> String {
    guard ranks.count > 1, let last = ranks.last else { return "rank \(ranks.first ?? 0)" }
    if ranks.count > 4 {
      return "ranks " + ranks.prefix(3).map(String.init).joined(separator: ", ") + " and \(ranks.count - 3) more"
    }
    return "ranks " + ranks.dropLast().map(String.init).joined(separator: ", ") + " and \(last)"
  }
}
