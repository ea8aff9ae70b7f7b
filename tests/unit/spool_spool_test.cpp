// The spool on a real file system: what is appended is read back, room is bounded and given back, and what
// goes wrong with the disk is an error.
#include "spool/spool.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <random>
#include <vector>

#include "error/error.h"
#include "spool_test_folder.h"

namespace walferry {
namespace {

using Bytes = std::vector<uint8_t>;
using test::TestFolder;

constexpr uint64_t kRoom = uint64_t(1) << 30;

std::vector<Bytes> random_frames(unsigned seed, size_t count, size_t longest) {
    std::mt19937 random(seed);
    std::vector<Bytes> frames(count);
    for (Bytes& frame : frames) {
        frame.resize(random() % longest);
        for (uint8_t& byte : frame) byte = uint8_t(random());
    }
    return frames;
}

std::vector<Bytes> read_all(const SpoolChain& chain) {
    std::vector<Bytes> frames;
    SpoolChain::Reader reader(chain);
    while (const auto frame = reader.next()) {
        EXPECT_EQ((reinterpret_cast<uintptr_t>(frame->data()) + 7) % 8, 0u);
        frames.emplace_back(frame->begin(), frame->end());
    }
    EXPECT_FALSE(reader.next());
    return frames;
}

ErrorCode error_of(const std::function<void()>& action) {
    try {
        action();
    } catch (const Error& error) {
        return error.code();
    }
    ADD_FAILURE() << "no error";
    return ErrorCode::internal;
}

TEST(Spool, GivesBackWhatWasAppended) {
    TestFolder folder;
    Spool spool(folder.path(), "task", kRoom);
    SpoolChain first(spool), second(spool);
    // Enough for several files; also frames larger than any file, and empty ones.
    std::vector<Bytes> frames = random_frames(1, 400, 70000);
    frames.push_back(Bytes(20 << 20, 7));
    frames.push_back({});
    frames.push_back(Bytes(3, 9));
    const std::vector<Bytes> others = random_frames(2, 30, 100);
    for (size_t i = 0; i < frames.size(); i++) {
        first.append(frames[i]);
        if (i < others.size()) second.append(others[i]);
    }
    EXPECT_EQ(first.frames(), frames.size());
    EXPECT_EQ(read_all(first), frames);
    EXPECT_EQ(read_all(second), others);
    EXPECT_EQ(read_all(first), frames);  // as often as one likes
    EXPECT_GT(folder.files(".frames").size(), 3u);
}

TEST(Spool, GivesTheRoomOfAChainBack) {
    TestFolder folder;
    Spool spool(folder.path(), "task", kRoom);
    EXPECT_TRUE(std::filesystem::is_empty(folder.path()));  // nothing is made before it is needed
    {
        SpoolChain chain(spool);
        chain.append(Bytes(100, 1));
        SpoolChain moved(std::move(chain));
        EXPECT_EQ(read_all(moved), std::vector<Bytes>{Bytes(100, 1)});
        uint64_t on_disk = 0;
        for (const auto& file : folder.files(".frames")) on_disk += std::filesystem::file_size(file);
        EXPECT_EQ(spool.used(), on_disk);
        EXPECT_GT(spool.used(), 0u);
    }
    EXPECT_EQ(spool.used(), 0u);
    EXPECT_TRUE(folder.files(".frames").empty());
}

TEST(Spool, LeavesNothingBehind) {
    TestFolder folder;
    {
        Spool spool(folder.path() / "made" / "by the spool", "task", kRoom);
        SpoolChain chain(spool);
        chain.append(Bytes(100, 1));
        EXPECT_EQ(folder.files(".frames").size(), 1u);
    }
    EXPECT_TRUE(std::filesystem::is_empty(folder.path() / "made" / "by the spool"));
}

TEST(Spool, IsFullAtItsLimit) {
    TestFolder folder;
    Spool spool(folder.path(), "task", 5 << 20);
    SpoolChain chain(spool);
    const Bytes frame(64 << 10, 1);
    size_t appended = 0;
    EXPECT_EQ(error_of([&] {
                  for (;; appended++) chain.append(frame);
              }),
              ErrorCode::spool_full);
    EXPECT_GT(appended, 40u);
    EXPECT_LE(spool.used(), spool.limit());
    EXPECT_EQ(read_all(chain).size(), appended);  // what was taken is still there
}

TEST(Spool, SaysWhenItsFolderCannotBeMade) {
    TestFolder folder;
    std::ofstream(folder.path() / "file") << "in the way";
    Spool spool(folder.path() / "file", "task", kRoom);
    SpoolChain chain(spool);
    EXPECT_EQ(error_of([&] { chain.append(Bytes(1, 1)); }), ErrorCode::spool_failed);
    EXPECT_EQ(spool.used(), 0u);
}

TEST(Spool, RemovesWhatADeadProcessLeftAndNothingElse) {
    TestFolder folder;
    const auto dead = folder.path() / "task.999999999";
    const auto other_task = folder.path() / "task2.999999999";
    const auto no_number = folder.path() / "task.backup";
    for (const auto& path : {dead, other_task, no_number}) {
        std::filesystem::create_directory(path);
        std::ofstream(path / "lock") << "";
        std::ofstream(path / "1.frames") << "old";
    }
    const auto no_lock = folder.path() / "task.12345";
    std::filesystem::create_directory(no_lock);
    Spool alive(folder.path(), "other", kRoom);
    SpoolChain held(alive);
    held.append(Bytes(1, 1));

    Spool spool(folder.path(), "task", kRoom);
    SpoolChain chain(spool);
    chain.append(Bytes(1, 1));
    EXPECT_FALSE(std::filesystem::exists(dead));
    EXPECT_TRUE(std::filesystem::exists(other_task / "1.frames"));
    EXPECT_TRUE(std::filesystem::exists(no_number / "1.frames"));
    EXPECT_TRUE(std::filesystem::exists(no_lock));
    EXPECT_EQ(read_all(held).size(), 1u);
}

TEST(Spool, NoticesALengthThatWasChanged) {
    TestFolder folder;
    Spool spool(folder.path(), "task", kRoom);
    SpoolChain chain(spool);
    chain.append(Bytes(100, 1));
    chain.append(Bytes(100, 2));
    const auto file = folder.files(".frames").front();
    const int descriptor = open(file.c_str(), O_WRONLY);
    ASSERT_EQ(pwrite(descriptor, "\xff", 1, 112), 1);
    close(descriptor);
    SpoolChain::Reader reader(chain);
    EXPECT_TRUE(reader.next());
    EXPECT_EQ(error_of([&] { (void)reader.next(); }), ErrorCode::spool_damaged);
}

TEST(Spool, NoticesAFileThatIsGoneOrShort) {
    TestFolder folder;
    Spool spool(folder.path(), "task", kRoom);
    SpoolChain chain(spool);
    for (int i = 0; i < 40; i++) chain.append(Bytes(100000, 1));
    const auto files = folder.files(".frames");
    ASSERT_GE(files.size(), 2u);
    std::filesystem::resize_file(files[0], 8);
    std::filesystem::remove(files[1]);
    const ErrorCode code = error_of([&] { (void)read_all(chain); });
    EXPECT_TRUE(code == ErrorCode::spool_damaged || code == ErrorCode::spool_failed);
}

}  // namespace
}  // namespace walferry
