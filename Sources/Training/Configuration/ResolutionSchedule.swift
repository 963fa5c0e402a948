/// The size of training images as a function of the step: small ones first, which is cheaper.
///
/// Written as `16@0,24@0.5,32@0.8`: sizes, and the share of the run after which each begins.
public struct ResolutionSchedule: Sendable, Hashable, CustomStringConvertible {
  /// A size and the share of the run after which it begins.
  private struct Entry: Sendable, Hashable {
    let size: Int
    let share: Double
  }

  /// The size of the data set's images.
  public static let fullSize = 32
  /// Always the data set's size.
  public static let full = ResolutionSchedule(entries: [Entry(size: fullSize, share: 0)])

  /// 55 % of the run at 16 pixels, the rest at 32: 0.59 of the multiply-adds of a run at 32.
  public static let growing = ResolutionSchedule(entries: [
    Entry(size: 16, share: 0), Entry(size: fullSize, share: 0.55),
  ])

  private let entries: [Entry]

  private init(entries: [Entry]) { self.entries = entries }

  /// Parses `32`, or sizes with the shares at which they begin.
  ///
  /// - Throws: ``InvalidSetting`` if a size is not a multiple of 4 from 8 to 32, or if the shares do not start at 0 or do not
  ///   increase.
  public init(_ text: String) throws {
    let fields = text.split(separator: ",", omittingEmptySubsequences: false)
    entries = try fields.map { field in
      let parts = field.split(separator: "@", omittingEmptySubsequences: false)
      guard let size = parts.first.flatMap({ Int($0) }), parts.count <= 2,
        let share = parts.count == 2 ? Double(parts[1]) : (fields.count == 1 ? 0 : nil)
      else {
        throw InvalidSetting(
          "--resolution \(text) is not a size or a schedule; write 32, or sizes and shares as in 16@0,24@0.5,32@0.8.")
      }
      guard (8...Self.fullSize).contains(size), size.isMultiple(of: 4) else {
        throw InvalidSetting("--resolution \(text): \(size) is not a multiple of 4 between 8 and \(Self.fullSize).")
      }
      return Entry(size: size, share: share)
    }
    guard entries[0].share == 0, zip(entries, entries.dropFirst()).allSatisfy({ $0.share < $1.share }),
      entries.allSatisfy({ $0.share < 1 })
    else {
      throw InvalidSetting(
        "--resolution \(text): the shares must start at 0, increase and stay below 1, as in 16@0,24@0.5,32@0.8.")
    }
  }

  /// Returns the size of the images of a step.
  ///
  /// - Parameters:
  ///   - step: The number of the step, from 1.
  ///   - steps: The steps of the whole run.
  /// - Returns: Rows and columns.
  public func size(step: Int, of steps: Int) -> Int {
    let share = Double(step - 1) / Double(steps)
    return (entries.last { $0.share <= share } ?? entries[0]).size
  }

  /// Returns whether images have had another size than the data set's within the last `window` steps.
  public func hasChanged(within window: Int, before step: Int, of steps: Int) -> Bool {
    (max(1, step - window + 1)...max(1, step)).contains { size(step: $0, of: steps) != Self.fullSize }
  }

  /// All sizes, largest first, each once.
  public var sizes: [Int] { Set(entries.map(\.size)).sorted(by: >) }
  /// Whether sizes depend on the length of the run.
  public var isProgressive: Bool { entries.count > 1 }

  /// The text that ``init(_:)`` parses.
  public var description: String {
    isProgressive ? entries.map { "\($0.size)@\(Self.text($0.share))" }.joined(separator: ",") : "\(entries[0].size)"
  }

  private static func text(_ share: Double) -> String { share == 0 ? "0" : "\(share)" }
}

/// A setting that no run can have.
public struct InvalidSetting: Error, CustomStringConvertible {
  /// One sentence: the flag, what is wrong, how to fix it.
  public let description: String

  /// Creates an error with its sentence.
  public init(_ description: String) { self.description = description }
}
