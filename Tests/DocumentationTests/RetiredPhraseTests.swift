import Foundation
import Testing

/// The rules for prose in `CONTRIBUTING.md`: phrases without a meaning in the field stay out of sources and documents.
///
/// `CONTRIBUTING.md` and `docs/glossary.md` quote them as counterexamples, and `CHANGELOG.md` keeps the words of its time.
@Suite struct RetiredPhraseTests {
  /// The checked directories and files, as paths below the root.
  private static let checkedPaths = [
    "Sources", "docs", "launch", "hostfiles", "Benchmarks", "Examples", ".ci", "README.md",
    "Tests/CommandLineTests/Snapshots",
  ]
  private static let uncheckedFiles: Set = [
    "docs/glossary.md", "Sources/Training/Protos/event.pb.swift", "Sources/Exporting/Protos/onnx.pb.swift",
  ]

  /// The phrases, by the term that replaces them.
  static let retiredPhrases: [(phrases: [String], replacement: String)] = [
    (["way back", "on the way there", "way forward", "goes back"], "backward pass, forward pass"),
    (["gradient behind", "gradients behind", "gradient before"], "gradient w.r.t. the output or input"),
    (["behind", "beside it stands", "stands", "stood"], "after, next to, is"),
    (["open messages", "asks for messages", "looks at messages"], "polls for progress, pending requests"),
    (["moves messages on", "moves on messages", "moving messages", "who moves messages"], "message progress"),
    (["on their way", "on its way", "under way"], "in flight"),
    (["hands out", "handed out", "hand out", "handing out", "hands over"], "all-gathers, scatters, schedules"),
    (["brings", "brought", "bring along"], "contributes, gathers"),
    (["travels", "travel"], "is sent"),
    (
      [
        "exchange of gradients", "exchange of the gradient", "gradient's exchange", "gradients exchanged",
        "exchange alone",
        "exchange in tree order", "if an exchange fails", "if the exchange fails",
      ], "gradient all-reduce; communication"
    ),
    (["divided among the ranks", "divided among ranks", "divided among them", "moments divided"], "sharded"),
    (["share cores", "shares cores", "sharing cores", "share its cores"], "oversubscribe"),
    (["whole core", "whole cores"], "physical cores"),
    (
      [
        "equal bits", "same bits", "other bits", "the bits of", "changes no bit", "changes no bits", "change no bits",
        "changes bits", "bit for bit",
      ], "bitwise identical; does not affect results"
    ),
    (
      ["sums' level", "sums of one level", "of two equally near", "equally near"],
      "rounding level; round to nearest even"
    ),
    (["spent array", "is spent", "unspent"], "overwritten"),
    (["turned kernel", "turned kernels", "turned block", "turned weight"], "flipped weight"),
    (["engine's own form", "own form", "prepared weight", "prepared weights"], "packed layout, packed weight"),
    (["register tile", "register tiles", "terms added in one go", "in one go"], "microkernel, depth block"),
    (["linear pass", "linear passes"], "prologue, epilogue"),
    (["plain loops", "plain fp32", "plain number", "plain convolution"], "naive fp32, reference"),
    (["kept activation", "kept activations", "activations kept"], "saved activations"),
    (
      ["offers the core", "offers its core", "gives it up", "gives its core", "gives the core", "watches for"],
      "spins, yields"
    ),
    (["not timed", "that are not timed", "in turns", "in turn", "and all between"], "warm-up, interleaved"),
    (["wish", "wishes", "wished"], "stop request"),
    (["spoil", "spoils", "spoiled", "astray", "gone astray"], "fault injection, desynchronized"),
    (["looks hosts up", "looks up hosts", "looks every host up", "looks names up", "looks one name up"], "resolves"),
    (["mend", "mends", "mended", "nothing to mend"], "fix"),
    (["taken for", "passed over"], "treated as, predicted as, skipped"),
    (["made-up", "drawn images", "drawn shapes", "draws images"], "synthetic, generated"),
    (["for people", "for programs"], "description, human-readable, machine-readable"),
    (["folder", "folders", "picture", "pictures"], "directory; chart, image"),
    (["goes on", "going on", "go on", "went on", "gone on"], "resumes, continues"),
    (["first-level cache", "second-level cache"], "L1, L2"),
    (["had best", "best be given"], "prefer, should"),
    (["nobody", "somebody", "everybody", "anybody", "whoever", "so many"], "the actor: caller, rank, worker"),
    (["at work", "of its own", "of their own", "to itself alone"], "running; separate, another"),
    (["every rank calls it", "all ranks call it"], "Collective."),
    (
      [
        "tells whether", "says whether", "is no number", "is no text",
        "is no host",
        "is no data rate", "is no time", "is no range", "is no interface", "is no list", "is no instruction",
        "is no wide",
        "is no setting", "or is no",
      ], "whether; is not a"
    ),
    (
      [
        "one a rank", "one a line", "one a host", "one a core", "one a layer", "one a step", "one a microbatch",
        "a slot a core",
        "a line a", "images a second", "bytes a second", "steps a second", "ms a step", "ms an image", "sent a rank",
        "planned a rank", "ranks a host",
      ], "per"
    ),
    (["unit of work", "units of work", "unit of tiles", "pieces of work", "hand-out"], "work item, tile block"),
  ]

  private static let root = URL(fileURLWithPath: #filePath)
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

  /// The text files below the checked paths.
  private static let files: [String] = checkedPaths.flatMap { path -> [String] in
    let url = root.appendingPathComponent(path)
    guard let below = FileManager.default.enumerator(atPath: url.path) else { return [path] }
    let names = below.compactMap { $0 as? String }.sorted().map { "\(path)/\($0)" }
    return names.isEmpty ? [path] : names
  }.filter { path in
    var isDirectory: ObjCBool = false
    let exists = FileManager.default.fileExists(
      atPath: root.appendingPathComponent(path).path, isDirectory: &isDirectory)
    let name = path.split(separator: "/").last ?? ""
    let isText =
      !name.contains(".")
      || [".md", ".swift", ".py", ".sh", ".sbatch", ".txt", ".example"].contains { name.hasSuffix($0) }
    return exists && !isDirectory.boolValue && isText && !uncheckedFiles.contains(path)
  }

  @Test func theFilesAreFound() {
    for path in ["launch/common.sh", "launch/train", "docs/results/overlap.md", "Benchmarks/scaling"] {
      #expect(Self.files.contains(path))
    }
    #expect(Self.files.count > 60)
  }

  @Test func phrasesAreFoundAcrossLinesAndCase() {
    #expect(Self.findings("/// The Way\n  /// back; a high-way back") == ["way back"])
    #expect(Self.findings("# it\n# goes\n# on.") == ["goes on"])
    #expect(Self.findings("it goes. On the host, a mending wishlist, --picture, `equal-bits`").isEmpty)
  }

  @Test func noRetiredPhraseIsUsed() throws {
    for path in Self.files {
      let text = try String(contentsOf: Self.root.appendingPathComponent(path), encoding: .utf8)
      for phrase in Self.findings(text) {
        let replacement = Self.retiredPhrases.first { $0.phrases.contains(phrase) }?.replacement ?? ""
        Issue.record("\(path) says \"\(phrase)\"; use: \(replacement)")
      }
    }
  }

  /// The words of each phrase, by its first word.
  private static let phrasesByFirstWord = Dictionary(
    grouping: retiredPhrases.flatMap(\.phrases).map { $0.split(separator: " ") }, by: { $0[0] })

  /// Returns the retired phrases of a text, in order.
  ///
  /// Line breaks and comment markers separate words like spaces.
  private static func findings(_ text: String) -> [String] {
    let words = words(text.lowercased())
    return words.indices.flatMap { i in
      (phrasesByFirstWord[words[i]] ?? []).filter { words[i...].starts(with: $0) }.map { $0.joined(separator: " ") }
    }
  }

  /// Splits a text into words and punctuation marks, so that no phrase spans two sentences.
  private static func words(_ text: String) -> [Substring] {
    var words: [Substring] = []
    var start: String.Index?
    for i in text.indices {
      let character = text[i]
      if character.isLetter || character.isNumber || "-_'".contains(character) {
        start = start ?? i
      } else {
        if let start { words.append(text[start..<i]) }
        start = nil
        if ".,;:!?()".contains(character) { words.append(text[i...i]) }
      }
    }
    if let start { words.append(text[start...]) }
    return words
  }
}
