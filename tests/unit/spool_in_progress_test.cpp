#include "spool/in_progress.h"

#include "spool_test_folder.h"

namespace walferry {
namespace {

using test::TestFolder;

struct InProgressTest : testing::Test {
    TestFolder folder;
    Spool spool{folder.path(), "task", uint64_t(1) << 30};
    InProgress transactions{spool};

    void append(uint32_t xid, uint8_t byte) {
        const std::vector<uint8_t> frame(10, byte);
        transactions.append(Xid{xid}, frame);
    }
    std::string bytes(uint32_t xid) {
        std::string found;
        InProgress::Transaction* transaction = transactions.end(Xid{xid});
        if (!transaction) return "none";
        SpoolChain::Reader reader(transaction->frames);
        while (const auto frame = reader.next()) found += char('0' + frame->front());
        return found;
    }
};

TEST_F(InProgressTest, KeepsTransactionsApart) {
    append(10, 1);
    append(20, 2);
    append(10, 3);
    EXPECT_EQ(transactions.size(), 2u);
    EXPECT_EQ(bytes(10), "13");
    EXPECT_EQ(bytes(20), "2");
    EXPECT_EQ(bytes(30), "none");
    transactions.erase(Xid{10});
    EXPECT_EQ(bytes(10), "none");
    EXPECT_EQ(bytes(20), "2");
}

TEST_F(InProgressTest, KnowsWhatWasRolledBack) {
    append(10, 1);
    transactions.abort(Xid{10}, Xid{17});
    transactions.abort(Xid{10}, Xid{12});
    EXPECT_EQ(transactions.end(Xid{10})->aborted, (std::vector<uint32_t>{12, 17}));
    transactions.abort(Xid{99}, Xid{100});  // never sent
    EXPECT_EQ(transactions.size(), 1u);
    transactions.abort(Xid{10}, Xid{10});
    EXPECT_EQ(transactions.size(), 0u);
    EXPECT_EQ(spool.used(), 0u);
}

TEST_F(InProgressTest, NumbersThemInTheOrderInWhichTheyBegin) {
    EXPECT_EQ(transactions.oldest_number(), transactions.next_number());
    append(50, 1);
    const uint64_t first = transactions.oldest_number();
    append(10, 1);
    EXPECT_EQ(transactions.oldest_number(), first);
    EXPECT_EQ(transactions.next_number(), first + 2);
    transactions.erase(Xid{50});
    EXPECT_EQ(transactions.oldest_number(), first + 1);
    append(50, 1);  // a number that was used before, for another transaction
    transactions.erase(Xid{10});
    EXPECT_EQ(transactions.oldest_number(), first + 2);
}

TEST_F(InProgressTest, KnowsTheOldestPreparedTransaction) {
    EXPECT_FALSE(transactions.oldest_prepared());
    append(10, 1);
    EXPECT_FALSE(transactions.oldest_prepared());
    transactions.prepare(Xid{10}, Lsn{500});
    transactions.prepare(Xid{11}, Lsn{300});  // without a row
    EXPECT_EQ(transactions.oldest_prepared(), Lsn{300});
    transactions.erase(Xid{11});
    EXPECT_EQ(transactions.oldest_prepared(), Lsn{500});
    transactions.clear();
    EXPECT_FALSE(transactions.oldest_prepared());
}

}  // namespace
}  // namespace walferry
