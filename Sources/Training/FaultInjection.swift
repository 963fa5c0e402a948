import Collectives
import Datasets
import Glibc
import Tensors

/// Fault injection: a fault that a test requests of the program as it is shipped.
///
/// `WRN_FAULT=rank=2,step=17,phase=backward,act=kill` ends one rank when it enters a phase of a step. It is refused unless
/// `WRN_ALLOW_FAULTS=1` is set as well.
///
/// | act | effect |
/// |---|---|
/// | `kill`, `stop` | SIGKILL, SIGSTOP when the phase begins |
/// | `exit`, `hang` | exit code 3, or no end |
/// | `slow` | sleeps for `milliseconds` |
/// | `nan` | NaN in an `image` of the rank before the forward pass, or in an `element` of its gradient in the backward pass |
/// | `bitflip` | flips one `bit` of one `element` of a `tensor` after the step |
/// | `enospc`, `eio` | the checkpoint of the step cannot be written: no space, or an error of the disk |
/// | `crash-at=POINT` | SIGKILL at a point of the checkpoint's write |
///
/// The phases are `data`, `forward`, `backward`, `update`, `checkpoint`, `evaluation`, `average` (before the average is
/// evaluated) and, with `slow`, `write` (of a checkpoint). Rank 0 alone writes checkpoints. With `until=20` the fault occurs
/// at all steps from `step` to 20. With `once=FILE` it occurs only if the file does not exist, and creates it, so that a
/// restarted run survives. `bitflip:rank=…` is short for `act=bitflip,rank=…`.
public struct FaultInjection: Sendable, Hashable {
  /// What happens.
  private enum Act: String {
    case kill
    case stop
    case exit
    case hang
    case slow
    case nan
    case bitflip
    case enospc
    case eio
    case crash
  }

  /// A moment of a step or after it.
  private enum Moment: Hashable {
    case phase(RankActivity.Phase)
    case betweenEvaluations
    case writing
  }

  private var act: Act?
  private var moment = Moment.phase(.forward)
  private var point = CheckpointDirectory.WritePoint.rename
  private var milliseconds = 500
  private var rank = 0
  private var step = 0
  private var until: Int?
  private var tensor = ""
  private var element = 0
  private var image = 0
  private var bit = 0
  private var once: String?

  private static let moments: [String: Moment] = [
    "data": .phase(.data), "forward": .phase(.forward), "backward": .phase(.backward), "update": .phase(.update),
    "checkpoint": .phase(.checkpoint), "evaluation": .phase(.evaluation), "average": .betweenEvaluations,
    "write": .writing,
  ]

  private static let format =
    "rank=2,step=17,act=kill|stop|exit|hang|slow|nan|bitflip|enospc|eio|crash-at=rename[,phase=forward][,until=20]"
    + "[,milliseconds=500][,tensor=head.bias][,element=0][,image=0][,bit=0][,once=FILE]"

  /// Reads the fault from the environment; `nil` if there is none.
  ///
  /// - Parameter environment: The environment of the process.
  /// - Throws: ``Refused`` if faults are not allowed, the text is not understood, or the fault would never occur.
  public init?(environment: [String: String]) throws(Refused) {
    guard let text = environment["WRN_FAULT"], !text.isEmpty else { return nil }
    guard environment["WRN_ALLOW_FAULTS"] == "1" else {
      throw Refused("WRN_FAULT=\(text) would damage the run; unset it, or set WRN_ALLOW_FAULTS=1 if that is intended.")
    }
    let isBitFlip = text.hasPrefix("bitflip:")
    if isBitFlip { act = .bitflip }
    for setting in (isBitFlip ? text.dropFirst(8) : text[...]).split(separator: ",", omittingEmptySubsequences: false) {
      guard let pair = Self.pair(setting), set(pair.name, pair.value) else { throw Self.unknown(text) }
    }
    guard step >= 1, until ?? step >= step, let act, (act == .bitflip) != tensor.isEmpty,
      act != .nan || [.phase(.forward), .phase(.backward)].contains(moment)
    else { throw Self.unknown(text) }
    guard moment != .writing || act == .slow else {
      throw Refused(
        "WRN_FAULT=\(text) would never occur, because phase=write needs act=slow; use act=slow or another phase.")
    }
    guard rank == 0 || moment != .writing && ![.enospc, .eio, .crash].contains(act) else {
      throw Refused("WRN_FAULT=\(text) would never occur, because rank 0 writes all checkpoints; use rank=0.")
    }
    let directory = once.map { file in file.lastIndex(of: "/").map { String(file[...$0]) } ?? "." }
    guard directory.map({ access($0, W_OK) == 0 }) ?? true else {
      throw Refused(
        "WRN_FAULT=\(text) would never occur, because the file of once cannot be created; name one in a directory that "
          + "can be written.")
    }
  }

  private static func pair(_ setting: Substring) -> (name: String, value: String)? {
    let words = setting.split(separator: "=", maxSplits: 1).map(String.init)
    return words.count == 2 ? (words[0], words[1]) : nil
  }

  private static func unknown(_ text: String) -> Refused {
    Refused("WRN_FAULT=\(text) is not understood; its format is \(format).")
  }

  /// Sets one value; returns false if it is invalid.
  private mutating func set(_ name: String, _ value: String) -> Bool {
    switch (name, Int(value)) {
    case ("tensor", _): tensor = value
    case ("once", _) where !value.isEmpty: once = value
    case ("rank", let number?) where number >= 0: rank = number
    case ("step", let number?) where number >= 1: step = number
    case ("until", let number?): until = number
    case ("element", let number?) where number >= 0: element = number
    case ("image", let number?) where number >= 0: image = number
    case ("bit", let number?) where (0..<32).contains(number): bit = number
    case ("milliseconds", let number?) where number >= 0: milliseconds = number
    case ("phase", _):
      guard let moment = Self.moments[value] else { return false }
      self.moment = moment
    case ("act", _) where value.hasPrefix("crash-at="):
      guard let point = CheckpointDirectory.WritePoint(rawValue: String(value.dropFirst(9))) else { return false }
      (act, self.point) = (.crash, point)
    case ("act", _):
      guard let act = Act(rawValue: value), act != .crash else { return false }
      self.act = act
    default: return false
    }
    return true
  }

  /// Whether the fault occurs now; the last condition of every check, because it creates the file of `once`.
  private func occurs(rank: Int, step: Int) -> Bool {
    guard rank == self.rank && step >= self.step && step <= until ?? self.step else { return false }
    guard let once else { return true }
    let file = open(once, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o644)
    return file >= 0 && close(file) == 0
  }

  /// Ends, stops or delays this rank if this is the fault's rank, step and phase.
  func strike(_ phase: RankActivity.Phase, rank: Int, step: Int) { strike(.phase(phase), rank: rank, step: step) }

  /// Does so between the evaluation of the weights and that of their average.
  func strikeBetweenEvaluations(rank: Int, step: Int) { strike(.betweenEvaluations, rank: rank, step: step) }

  private func strike(_ moment: Moment, rank: Int, step: Int) {
    guard moment == self.moment, isForPhases, occurs(rank: rank, step: step) else { return }
    switch act {
    case .kill: Glibc.kill(getpid(), SIGKILL)
    case .stop: Glibc.kill(getpid(), SIGSTOP)
    case .exit: _exit(3)
    case .hang: while true { Glibc.sleep(1) }
    case .slow: sleep()
    default: break
    }
  }

  /// Whether the act is one of those that strike when a phase begins.
  private var isForPhases: Bool {
    switch act {
    case .kill, .stop, .exit, .hang, .slow: true
    default: false
    }
  }

  private func sleep() { usleep(UInt32(min(milliseconds, 4_000_000)) * 1000) }

  /// Makes the write of a checkpoint fail, or ends the process, if this is the fault's step and point.
  ///
  /// - Throws: ``CheckpointError`` of kind `inputOutput`.
  func strike(at point: CheckpointDirectory.WritePoint, step: Int) throws {
    let place: CheckpointDirectory.WritePoint
    switch act {
    case .slow where moment == .writing: place = .write
    case .enospc: place = .write
    case .eio: place = .sync
    case .crash: place = self.point
    default: return
    }
    guard point == place, occurs(rank: 0, step: step) else { return }
    func failure(_ code: Int32) -> CheckpointError {
      CheckpointError(
        .inputOutput, "writing the checkpoint of step \(step) failed: \(String(cString: strerror(code))).")
    }
    switch act {
    case .slow: sleep()
    case .enospc: throw failure(ENOSPC)
    case .eio: throw failure(EIO)
    default: Glibc.kill(getpid(), SIGKILL)
    }
  }

  /// Writes NaN into the first pixel of an image of this rank's batch.
  ///
  /// - Precondition: The batch has the image.
  func poison(_ batch: Batch, rank: Int, step: Int) {
    guard act == .nan, moment == .phase(.forward), occurs(rank: rank, step: step) else { return }
    precondition(image < batch.labels.count, "the batch of rank \(rank) has no image \(image) for WRN_FAULT")
    batch.images.pointer[image * batch.imageSize * batch.imageSize * 3] = .nan
  }

  /// Writes NaN into this rank's gradient.
  ///
  /// - Parameters:
  ///   - gradient: The sum over this rank's first microbatches.
  ///   - elements: The elements that are complete.
  ///   - rank: This rank.
  ///   - step: The step.
  func poison(_ gradient: ParameterStore, elements: Range<Int>, rank: Int, step: Int) {
    guard act == .nan, moment == .phase(.backward), elements.contains(element), occurs(rank: rank, step: step) else {
      return
    }
    gradient.pointer[element] = .nan
  }

  /// Flips the bit if this is the fault's rank and step.
  ///
  /// A state, as `m.head.bias`, is flipped only if the rank keeps the element.
  ///
  /// - Precondition: The model has the tensor, and the tensor has the element.
  func apply(to model: ModelState, _ trainingStep: TrainingStep, rank: Int, after step: Int) {
    guard act == .bitflip, occurs(rank: rank, step: step) else { return }
    for store in model.replicatedStores {
      guard let parameter = store.layout[tensor] else { continue }
      let value = store[parameter][element]
      store[parameter][element] = Float(bitPattern: value.bitPattern ^ 1 << UInt32(bit))
      return
    }
    for (index, name) in trainingStep.stateNames.enumerated() where tensor.hasPrefix(name + ".") {
      guard let parameter = model.graph.parameterLayout[String(tensor.dropFirst(name.count + 1))] else { continue }
      return trainingStep.flip(state: index, element: parameter.range.lowerBound + element, bit: bit)
    }
    preconditionFailure("the model has no tensor \(tensor) for WRN_FAULT")
  }

  /// A fault that is not allowed or not understood.
  public struct Refused: Error, CustomStringConvertible {
    /// One sentence: what is wrong and how to fix it.
    public let description: String

    init(_ description: String) { self.description = description }
  }
}
