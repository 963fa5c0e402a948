/// The datasets by name, and the official binary layout of each.
///
/// A record is one or two labels of one byte, then 1,024 red, 1,024 green and 1,024 blue values, each plane row by row.
/// CIFAR-100's records begin with the coarse label; the fine label follows, and models learn it.
public enum DatasetKind: String, Codable, CaseIterable, Sendable {
  /// CIFAR-10: ten classes, 3,073 bytes per record.
  case cifar10
  /// CIFAR-100: 100 fine classes in 20 coarse classes, 3,074 bytes per record.
  case cifar100

  /// The name in prose: `CIFAR-10` or `CIFAR-100`.
  public var title: String { self == .cifar10 ? "CIFAR-10" : "CIFAR-100" }

  /// The number of classes that models learn.
  public var classCount: Int { self == .cifar10 ? 10 : 100 }

  /// The number of coarse classes; 0 if there are none.
  public var coarseClassCount: Int { self == .cifar10 ? 0 : 20 }

  /// The bytes per record.
  public var recordByteCount: Int { labelByteCount + 3072 }

  /// The bytes before the pixels of a record, of which the last is the label.
  var labelByteCount: Int { self == .cifar10 ? 1 : 2 }

  /// The directory in the official archive.
  public var archiveDirectory: String { self == .cifar10 ? "cifar-10-batches-bin" : "cifar-100-binary" }

  /// The environment variable of the directory that `--data auto` tries first.
  public var environmentVariable: String { self == .cifar10 ? "CIFAR10_DIR" : "CIFAR100_DIR" }

  /// The file with test records.
  var testFile: String { self == .cifar10 ? "test_batch.bin" : "test.bin" }

  /// The file, or pattern of files, with training records.
  var trainingFiles: String { self == .cifar10 ? "data_batch_*.bin" : "train.bin" }

  /// The optional file with the names of the classes.
  var classNamesFile: String { self == .cifar10 ? "batches.meta.txt" : "fine_label_names.txt" }

  /// The optional file with the names of the coarse classes.
  var coarseClassNamesFile: String? { self == .cifar10 ? nil : "coarse_label_names.txt" }

  /// The command that downloads the real dataset.
  var fetchCommand: String {
    self == .cifar10 ? "launch/fetch-cifar10" : "launch/fetch-cifar10 --dataset cifar100"
  }

  /// The class names of the real dataset, in the order of the labels.
  public var officialClassNames: [String] {
    self == .cifar10 ? Self.cifar10ClassNames : Self.cifar100ClassNames
  }

  /// The coarse class names of the real dataset, in the order of the coarse labels; empty without coarse classes.
  public var officialCoarseClassNames: [String] {
    self == .cifar10 ? [] : Self.cifar100CoarseClassNames
  }

  private static let cifar10ClassNames = [
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
  ]

  private static let cifar100ClassNames = [
    "apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle", "bottle",
    "bowl", "boy", "bridge", "bus", "butterfly", "camel", "can", "castle", "caterpillar", "cattle",
    "chair", "chimpanzee", "clock", "cloud", "cockroach", "couch", "crab", "crocodile", "cup", "dinosaur",
    "dolphin", "elephant", "flatfish", "forest", "fox", "girl", "hamster", "house", "kangaroo", "keyboard",
    "lamp", "lawn_mower", "leopard", "lion", "lizard", "lobster", "man", "maple_tree", "motorcycle", "mountain",
    "mouse", "mushroom", "oak_tree", "orange", "orchid", "otter", "palm_tree", "pear", "pickup_truck", "pine_tree",
    "plain", "plate", "poppy", "porcupine", "possum", "rabbit", "raccoon", "ray", "road", "rocket",
    "rose", "sea", "seal", "shark", "shrew", "skunk", "skyscraper", "snail", "snake", "spider",
    "squirrel", "streetcar", "sunflower", "sweet_pepper", "table", "tank", "telephone", "television", "tiger",
    "tractor",
    "train", "trout", "tulip", "turtle", "wardrobe", "whale", "willow_tree", "wolf", "woman", "worm",
  ]

  private static let cifar100CoarseClassNames = [
    "aquatic_mammals", "fish", "flowers", "food_containers", "fruit_and_vegetables",
    "household_electrical_devices", "household_furniture", "insects", "large_carnivores",
    "large_man-made_outdoor_things", "large_natural_outdoor_scenes", "large_omnivores_and_herbivores",
    "medium_mammals", "non-insect_invertebrates", "people", "reptiles", "small_mammals", "trees",
    "vehicles_1", "vehicles_2",
  ]
}
