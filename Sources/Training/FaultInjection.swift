import Collectives
import Glibc
import Tensors

/// Fault injection: a fault that a test requests of the program as it is shipped.
///
/// `WRN_FAULT=rank=2,step=17,phase=backward,act=kill` ends one rank when it enters a phase of a step. The acts are `kill`
/// (SIGKILL), `stop` (SIGSTOP), `exit` (exit code 3), `hang`, and `slow` with `milliseconds=500`.
/// `WRN_FAULT=bitflip:rank=2,step=17,tensor=head.bias` flips one bit of one number of one rank after a step. Both are refused
/// unless `WRN_ALLOW_FAULTS=1` is set as well.
public struct FaultInjection: Sendable, Hashable {
  /// What happens.
  private enum Act: String {
    case bitflip
    case kill
    case stop
    case exit
    case hang
    case slow
  }

  private var act = Act.bitflip
  private var phase = RankActivity.Phase.forward
  private var milliseconds = 500
  private var rank = 0
  private var step = 0
  private var tensor = ""
  private var element = 0
  private var bit = 0

  private static let phases: [String: RankActivity.Phase] = [
    "data": .data, "forward": .forward, "backward": .backward, "update": .update, "checkpoint": .checkpoint,
    "evaluation": .evaluation,
  ]

  /// Reads the fault from the environment; `nil` if there is none.
  ///
  /// - Parameter environment: The environment of the process.
  /// - Throws: ``Refused`` if faults are not allowed or the text is not understood.
  public init?(environment: [String: String]) throws(Refused) {
    guard let text = environment["WRN_FAULT"], !text.isEmpty else { return nil }
    guard environment["WRN_ALLOW_FAULTS"] == "1" else {
      throw Refused("WRN_FAULT=\(text) would damage the run; unset it, or set WRN_ALLOW_FAULTS=1 if that is intended.")
    }
    let format =
      "bitflip:rank=2,step=17,tensor=head.bias[,element=0][,bit=0] or "
      + "rank=2,step=17,act=kill|stop|exit|hang|slow[,phase=forward][,milliseconds=500]"
    let unknown = Refused("WRN_FAULT=\(text) is not understood; its format is \(format).")
    let isBitFlip = text.hasPrefix("bitflip:")
    var hasAct = isBitFlip
    for setting in (isBitFlip ? text.dropFirst(8) : text[...]).split(separator: ",", omittingEmptySubsequences: false) {
      let pair = setting.split(separator: "=", maxSplits: 1).map(String.init)
      guard pair.count == 2 else { throw unknown }
      switch (pair[0], Int(pair[1])) {
      case ("tensor", _) where isBitFlip: tensor = pair[1]
      case ("rank", let value?) where value >= 0: rank = value
      case ("step", let value?) where value >= 1: step = value
      case ("element", let value?) where isBitFlip && value >= 0: element = value
      case ("bit", let value?) where isBitFlip && (0..<32).contains(value): bit = value
      case ("milliseconds", let value?) where !isBitFlip && value >= 0: milliseconds = value
      case ("phase", _) where !isBitFlip:
        guard let phase = Self.phases[pair[1]] else { throw unknown }
        self.phase = phase
      case ("act", _) where !isBitFlip:
        guard let act = Act(rawValue: pair[1]), act != .bitflip else { throw unknown }
        self.act = act
        hasAct = true
      default: throw unknown
      }
    }
    guard step >= 1, hasAct, isBitFlip != tensor.isEmpty else { throw unknown }
  }

  /// Ends, stops or delays this rank if this is the fault's rank, step and phase.
  func strike(_ phase: RankActivity.Phase, rank: Int, step: Int) {
    guard act != .bitflip, rank == self.rank, step == self.step, phase == self.phase else { return }
    switch act {
    case .kill: Glibc.kill(getpid(), SIGKILL)
    case .stop: Glibc.kill(getpid(), SIGSTOP)
    case .exit: _exit(3)
    case .hang: while true { sleep(1) }
    case .slow: usleep(UInt32(min(milliseconds, 4_000_000)) * 1000)
    case .bitflip: break
    }
  }

  /// Flips the bit if this is the fault's rank and step.
  ///
  /// A state, as `m.head.bias`, is flipped only if the rank keeps the element.
  ///
  /// - Precondition: The model has the tensor, and the tensor has the element.
  func apply(to model: ModelState, _ trainingStep: TrainingStep, rank: Int, after step: Int) {
    guard act == .bitflip, rank == self.rank, step == self.step else { return }
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
