import Foundation

/// The contents of a run's `run.json`: what is needed to repeat the run, and where it ran.
///
/// `config.yaml` has the settings. A resumed run adds a session.
public struct RunDescription: Codable, Hashable, Sendable {
  /// The ranks of one host.
  public struct Host: Codable, Hashable, Sendable {
    /// The host's name.
    public var name: String
    /// The CPU's name.
    public var cpu: String
    /// The number of ranks on the host.
    public var ranks: Int
    /// The worker threads of each of these ranks, in the order of the ranks.
    public var threads: [Int]

    /// Creates a host.
    public init(name: String, cpu: String, ranks: Int, threads: [Int]) {
      self.name = name
      self.cpu = cpu
      self.ranks = ranks
      self.threads = threads
    }
  }

  /// One start of the program.
  public struct Session: Codable, Hashable, Sendable {
    /// The version of the program.
    public var version: String
    /// The program and its arguments, on rank 0.
    public var command: [String]
    /// The directory in which it was started.
    public var directory: String
    /// The date and time of the start, UTC, in ISO 8601.
    public var started: String
    /// The first step of the session.
    public var firstStep: Int
    /// The engine and its instruction set.
    public var engine: String
    /// The hosts, in the order of their first ranks.
    public var hosts: [Host]

    /// Creates a session.
    public init(
      version: String, command: [String], directory: String, started: String, firstStep: Int, engine: String,
      hosts: [Host]
    ) {
      self.version = version
      self.command = command
      self.directory = directory
      self.started = started
      self.firstStep = firstStep
      self.engine = engine
      self.hosts = hosts
    }

    /// The number of ranks.
    public var rankCount: Int { hosts.reduce(0) { $0 + $1.ranks } }
  }

  /// The version of the layout that this program writes.
  public static let formatVersion = 1
  /// The name of the file in a run's directory.
  public static let fileName = "run.json"

  /// The version of the layout.
  public var formatVersion = Self.formatVersion
  /// The network's name, for example `WRN-22-1`.
  public var network: String
  /// The number of trained parameters.
  public var parameterCount: Int
  /// The data set in one line.
  public var data: String
  /// The absolute path of the data set's directory; `nil` for the embedded synthetic set.
  public var dataDirectory: String?
  /// The training images that are not held out.
  public var trainingCount: Int
  /// The test images.
  public var testCount: Int
  /// The class names, in the order of the labels.
  public var classNames: [String]
  /// The sizes and digests of all images.
  public var dataDigest: String
  /// The sessions, oldest first.
  public var sessions: [Session]

  /// Creates a description.
  public init(
    network: String, parameterCount: Int, data: String, dataDirectory: String? = nil, trainingCount: Int,
    testCount: Int, classNames: [String],
    dataDigest: String, sessions: [Session]
  ) {
    self.network = network
    self.parameterCount = parameterCount
    self.data = data
    self.dataDirectory = dataDirectory
    self.trainingCount = trainingCount
    self.testCount = testCount
    self.classNames = classNames
    self.dataDigest = dataDigest
    self.sessions = sessions
  }

  /// Reads a run's description.
  ///
  /// - Parameter directory: The run's directory.
  /// - Returns: The description; `nil` if there is none, it is damaged, or a newer program has written it.
  public static func read(_ directory: String) -> RunDescription? {
    guard let data = FileManager.default.contents(atPath: "\(directory)/\(fileName)"),
      let description = try? decoder.decode(RunDescription.self, from: data)
    else { return nil }
    let ranks = description.sessions.flatMap { $0.hosts.map(\.ranks) }
    return (1...formatVersion).contains(description.formatVersion) && ranks.allSatisfy { (1...1 << 20).contains($0) }
      ? description : nil
  }

  /// Writes the description into a run's directory, after the sessions of the one that is there.
  ///
  /// Sessions that begin later than this one are dropped, because the run has restarted before them.
  ///
  /// - Parameter output: The run's directory.
  /// - Throws: ``CheckpointError`` if it cannot be written.
  public func write(to output: OutputDirectory) throws {
    var merged = self
    let firstStep = sessions.first?.firstStep ?? 1
    let earlier = firstStep == 1 ? [] : Self.read(output.path)?.sessions ?? []
    merged.sessions = earlier.filter { $0.firstStep < firstStep } + sessions
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    encoder.keyEncodingStrategy = .convertToSnakeCase
    try output.write(String(decoding: try encoder.encode(merged), as: UTF8.self) + "\n", to: Self.fileName)
  }

  private static var decoder: JSONDecoder {
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    return decoder
  }
}
